//! How a verifier gets what the issuer publishes: a trait, so that a backend can use its own HTTP client and tests none.

use std::future::Future;
use std::pin::Pin;

/// What is asked for: a GET that follows no redirect and sends no credentials.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct FetchRequest<'a> {
    /// The URL: https, or http on loopback. It is one that the verifier was set up with, or begins with the issuer.
    pub url: &'a str,
    /// The `Accept` header.
    pub accept: &'static str,
    /// The `If-None-Match` header, if an earlier answer had an `ETag`.
    pub if_none_match: Option<&'a str>,
    /// The largest body that is of use, in bytes. Stop reading there.
    pub max_bytes: usize,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// 304: what was fetched before still holds.
    NotModified,
    /// 200.
    Document(Document),
}

/// A body, with what its headers say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// The bytes.
    pub body: Vec<u8>,
    /// `ETag`, as it was sent.
    pub etag: Option<String>,
    /// `max-age` of `Cache-Control` less `Age`, in seconds; none if it was not said.
    pub max_age: Option<u64>,
}

/// Why a document could not be had, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FetchProblem(pub String);

/// The future of one fetch.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Fetched, FetchProblem>> + Send + 'a>>;

/// Fetches documents of the issuer. Any status but 200 and 304 is a problem.
///
/// ```
/// use procura::verify::{Document, Fetch, FetchRequest, Fetched, Fetching};
///
/// struct FromDisk;
///
/// impl Fetch for FromDisk {
///     fn get<'a>(&'a self, _request: FetchRequest<'a>) -> Fetching<'a> {
///         Box::pin(async { Ok(Fetched::Document(Document { body: br#"{"keys":[]}"#.to_vec(), ..Document::default() })) })
///     }
/// }
/// ```
pub trait Fetch: Send + Sync + 'static {
    /// Fetches one document. The verifier gives up on it after five seconds.
    fn get<'a>(&'a self, request: FetchRequest<'a>) -> Fetching<'a>;
}
