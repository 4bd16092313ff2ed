//! WHO DID WHAT: the hash-chained trail of decisions, its writer, its check, and what it answers.

pub mod chain;
pub mod explain;
pub mod live;
pub mod words;
pub mod writer;
