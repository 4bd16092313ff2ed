//! Procura: trades a user's identity-provider token and an LLM client's credentials for a delegation token that one
//! backend verifies offline (RFC 8693).

pub mod app;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod domain;
pub mod grants;
mod mistake;
pub mod oauth;
pub mod pages;
pub mod registry_file;
pub mod secrets;
pub mod server;
pub mod store;
pub mod tokens;
pub mod upstream;
