//! HOW TOKENS ARE MADE AND CHECKED: the only user of the JOSE crates.
//!
//! How a text is read as a JWS, and what a backend checks of a token of ours, is in `verify`, and is used from there.

pub mod caller;
pub mod checkpoint;
pub mod id_token;
pub mod issuer_keys;
pub mod jwk;
pub mod mint;
pub mod offline;
pub mod seal;
mod signature;
pub mod signing_keys;
pub mod status_list;
pub mod verify;

use crate::verify::claims;

/// Compact JWS, read strictly.
pub mod jose {
    pub use crate::verify::jose::*;
}

/// JSON, read strictly.
pub mod json {
    pub use crate::verify::json::*;
}
