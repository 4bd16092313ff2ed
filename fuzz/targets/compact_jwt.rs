//! Compact JWTs: see `properties/compact_jwt.rs` for what must hold.
#![no_main]

#[path = "../properties/compact_jwt.rs"]
mod compact_jwt;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| compact_jwt::holds(bytes));
