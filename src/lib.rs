//! Procura: trades a user's identity-provider token and an LLM client's credentials for a delegation token that one
//! backend verifies offline (RFC 8693).

pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod secrets;
pub mod store;
