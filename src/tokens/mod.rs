//! HOW TOKENS ARE MADE AND CHECKED: the only user of the JOSE crates.

pub mod caller;
pub mod checkpoint;
mod claims;
pub mod id_token;
pub mod issuer_keys;
pub mod jose;
pub mod json;
pub mod jwk;
pub mod mint;
pub mod offline;
pub mod seal;
mod signature;
pub mod signing_keys;
pub mod status_list;
pub mod verify;
