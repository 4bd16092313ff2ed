//! THE USER'S IDENTITY PROVIDERS, and every other document fetched from elsewhere: the only user of reqwest and
//! openidconnect.

mod addresses;
pub mod client_metadata;
pub mod discovery;
pub mod fetch;
pub mod login;
