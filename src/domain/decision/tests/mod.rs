//! What is granted, what is refused and why, and what never happens.

mod connections;
mod consents;
mod fixture;
mod granted;
mod hops;
mod policies;
mod properties;
mod refusals;
mod traces;
