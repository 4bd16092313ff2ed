//! JWK sets: see `properties/jwks.rs` for what must hold.
#![no_main]

#[path = "../properties/jwks.rs"]
mod jwks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jwks::holds(bytes));
