//! WHO DID WHAT: the hash-chained trail of decisions, its writer, its check, and what it answers.

mod chain;
pub mod checkpoint;
mod columns;
pub mod explain;
pub mod export;
pub mod live;
pub mod proof;
pub mod prune;
pub mod seen;
pub mod signed;
pub mod verify;
pub mod words;
pub mod writer;
