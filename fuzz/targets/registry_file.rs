//! The registry file: see `properties/registry_file.rs` for what must hold.
#![no_main]

#[path = "../properties/registry_file.rs"]
mod registry_file;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| registry_file::holds(bytes));
