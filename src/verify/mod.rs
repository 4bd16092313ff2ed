//! FOR BACKENDS: who is calling, and for whom, from a token and from nothing else.
//!
//! A [`Verifier`] is set up once with the issuer and the backend's own audience. It fetches the issuer's public keys and
//! status lists in the background, checks each token by itself, and gives a [`Caller`]. It builds without the server:
//!
//! ```toml
//! [dependencies]
//! procura = { git = "...", default-features = false, features = ["verify", "verify-http", "verify-axum"] }
//! ```
//!
//! Then, once, when the backend starts:
//!
//! ```no_run
//! use procura::verify::{SetupProblem, Verifier};
//!
//! async fn set_up() -> Result<Verifier, SetupProblem> {
//!     let verifier = Verifier::builder("https://auth.example.com", "https://records.example.com/api")
//!         .resource_metadata("https://records.example.com/.well-known/oauth-protected-resource/api")
//!         .build()?;
//!     if let Err(problem) = verifier.prefetch().await {
//!         eprintln!("tokens are answered 503 until the keys can be had: {problem}");
//!     }
//!     Ok(verifier)
//! }
//! ```
//!
//! [`Verifier::layer`] is a tower layer, for axum and whatever else is built on tower. Behind it each request has its
//! [`Caller`]: as an axum extractor, or by [`CallerExt`].
//!
//! ```
//! use procura::verify::{Caller, Refused};
//!
//! /// The rows of the user in the token, nobody else's; the statement says in the database's log whose doing it is.
//! fn rows_of(caller: &Caller) -> Result<(String, &str), Refused> {
//!     caller.require(&["records.read"])?;
//!     // Whatever an issuer names its tokens, it ends no comment.
//!     let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
//!     let jti: String = caller.token_id.chars().filter(is_plain).collect();
//!     Ok((format!("SELECT * FROM record WHERE owner = $1 /* jti={jti} */"), &caller.user.sub))
//! }
//! ```
//!
//! Nothing here knows the server, and no file but those of this folder, `clock.rs` and a few words of `domain` are part
//! of it.

mod attempts;
mod caller;
#[cfg_attr(not(feature = "server"), expect(unreachable_pub, reason = "the server's tokens show them on"))]
pub(crate) mod checks;
pub(crate) mod claims;
mod fetch;
#[cfg(feature = "verify-http")]
mod http_fetch;
#[cfg_attr(not(feature = "server"), expect(unreachable_pub, reason = "the server's tokens show them on"))]
pub(crate) mod jose;
#[cfg_attr(not(feature = "server"), expect(unreachable_pub, reason = "the server's tokens show them on"))]
pub(crate) mod json;
#[cfg_attr(not(feature = "server"), expect(unreachable_pub, reason = "the server's tokens show them on"))]
pub(crate) mod jwk;
mod keys;
mod layer;
mod refusal;
mod setup;
pub(crate) mod signature;
mod status;
mod status_list;
#[cfg(feature = "verify-testing")]
pub mod testing;
mod verifier;

pub use crate::clock::Clock;
pub use crate::domain::algorithm::VerificationAlgorithm;
pub use crate::domain::scope::{Scope, ScopeSet};
pub use caller::{Caller, CallerExt, Principal};
pub use fetch::{Document, Fetch, FetchProblem, FetchRequest, Fetched, Fetching};
#[cfg(feature = "verify-http")]
pub use http_fetch::HttpFetch;
#[cfg(feature = "verify-axum")]
pub use layer::NoVerifier;
pub use layer::{VerifyLayer, VerifyService};
pub use refusal::{Reason, Refused};
pub use setup::{SetupProblem, VerifierBuilder};
pub use verifier::{Health, StatusListHealth, Verifier};
