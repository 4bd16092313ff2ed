//! The one test binary. Each module has its topic as its name.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy takes only the bodies of #[test] functions for tests, not their helpers"
)]

// First, for their macros.
#[macro_use]
mod database;
#[macro_use]
mod world;

mod agreements;
mod architecture;
mod attacks;
mod audit;
mod browser;
mod chaos;
mod cli;
mod client_documents;
mod config;
mod demo;
mod documents;
mod dynamic_clients;
mod evidence;
mod forward_auth;
mod front_door;
mod fuzz_corpus;
mod http;
mod inspect;
mod issuer;
mod keys;
mod listener;
mod login;
mod logout;
mod network;
mod node;
mod pages;
mod parity;
mod postgres;
mod reference;
mod refusals;
mod registration;
mod registry_file;
mod secrecy;
mod server;
mod state_machine;
mod store;
mod timing;
mod token_exchange;
mod token_status;
mod token_use;
mod twin;
mod unanswered;
mod vectors;
mod verifier;
mod verifier_live;
mod verify;
