//! The one test binary. Each module has its topic as its name.

mod architecture;
mod audit;
mod cli;
mod config;
mod keys;
mod postgres;
mod registry_file;
mod store;
mod verify;
