//! The form at `/token`: see `properties/token_form.rs` for what must hold.
#![no_main]

#[path = "../properties/token_form.rs"]
mod token_form;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| token_form::holds(bytes));
