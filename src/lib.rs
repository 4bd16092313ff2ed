//! Procura: trades a user's identity-provider token and an LLM client's credentials for a delegation token that one
//! backend verifies offline (RFC 8693).
//!
//! A Rust backend uses `verify` alone: `default-features = false, features = ["verify"]`.

#[cfg(feature = "server")]
pub mod app;
#[cfg(feature = "server")]
pub mod audit;
#[cfg(feature = "server")]
pub mod cli;
pub mod clock;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod demo;
pub mod domain;
#[cfg(feature = "server")]
pub mod grants;
#[cfg(feature = "server")]
mod mistake;
#[cfg(feature = "server")]
pub mod oauth;
#[cfg(feature = "server")]
pub mod pages;
#[cfg(feature = "server")]
pub mod registry_file;
#[cfg(feature = "server")]
pub mod secrets;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
pub mod tokens;
#[cfg(feature = "server")]
pub mod upstream;
#[cfg(feature = "verify")]
pub mod verify;
