//! WHAT IS TRUE: the product's words and rules. No HTTP, SQL, JOSE, clock or I/O; `now` is an argument.

pub mod change;
pub mod client;
pub mod client_metadata;
pub mod consent;
pub mod decision;
pub mod delegation;
pub mod dynamic_client;
pub mod event;
pub mod grant_family;
pub mod identity_provider;
pub mod key_set;
pub mod limits;
pub mod look_alike;
pub mod names;
pub mod policy;
pub mod presets;
pub mod redirect_uri;
pub mod registry;
pub mod resource;
pub mod scope;
pub mod sent;
pub mod sign_in;
pub mod signing_key;
pub mod subject;
pub mod target;
pub mod user;
