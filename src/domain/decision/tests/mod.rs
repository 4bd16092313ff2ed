//! What is granted, what is refused and why, and what never happens.

mod consents;
mod fixture;
mod granted;
mod hops;
mod policies;
mod properties;
mod refusals;
mod traces;
