//! `Authorization: Basic`: see `properties/basic_header.rs` for what must hold.
#![no_main]

#[path = "../properties/basic_header.rs"]
mod basic_header;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| basic_header::holds(bytes));
