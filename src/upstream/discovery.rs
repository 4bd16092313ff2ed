//! Where an identity provider's keys are (OpenID Connect Discovery 1.0 §4).

use super::fetch::{FetchError, Fetcher};
use serde::Deserialize;
use std::time::Duration;
use url::Url;

/// What is read of a discovery document (OpenID Connect Discovery 1.0 §3). Only what everybody needs is required.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    pub(super) issuer: String,
    pub(super) jwks_uri: String,
    /// Where the user signs in.
    #[serde(default)]
    pub(super) authorization_endpoint: Option<String>,
    /// Where codes are redeemed.
    #[serde(default)]
    pub(super) token_endpoint: Option<String>,
    /// Where the user signs out (OpenID Connect RP-Initiated Logout 1.0 §2.1).
    #[serde(default)]
    pub(super) end_session_endpoint: Option<String>,
    /// How clients authenticate; `client_secret_basic` if it does not say.
    #[serde(default)]
    pub(super) token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether each answer to the browser has `iss` (RFC 9207 §3).
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

/// The `jwks_uri` in the discovery document of `issuer`. The document's own `issuer` must be the same text.
pub async fn jwks_uri(fetcher: &Fetcher, issuer: &str, allow_private: bool) -> Result<Url, FetchError> {
    let (metadata, _) = metadata(fetcher, issuer, allow_private).await?;
    Url::parse(&metadata.jwks_uri).map_err(|problem| FetchError::Failed(format!("jwks_uri of {issuer}: {problem}")))
}

/// The discovery document of `issuer`, and for how long it may be kept. Its own `issuer` must be the same text.
pub(super) async fn metadata(
    fetcher: &Fetcher,
    issuer: &str,
    allow_private: bool,
) -> Result<(Metadata, Option<Duration>), FetchError> {
    let url = document_url(issuer)?;
    let document = fetcher.get_json(&url, allow_private).await?;
    let metadata: Metadata = serde_json::from_slice(&document.body)
        .map_err(|problem| FetchError::Failed(format!("{url} is not a discovery document: {problem}")))?;
    // Otherwise one provider could answer for another (Discovery §4.3).
    if metadata.issuer != issuer {
        let said: String = metadata.issuer.chars().take(256).collect();
        return Err(FetchError::Failed(format!("{url} is the document of issuer {said:?}, not of {issuer:?}")));
    }
    Ok((metadata, document.max_age))
}

/// The well-known path is put behind the issuer, a closing slash of which is dropped (Discovery §4.1).
fn document_url(issuer: &str) -> Result<Url, FetchError> {
    let text = format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer));
    let url = Url::parse(&text)
        .map_err(|problem| FetchError::Failed(format!("issuer {issuer:?} is not a URL: {problem}")))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(FetchError::Failed(format!("issuer {issuer:?} has a query or a fragment")));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_behind_the_path_of_the_issuer() {
        let url = |issuer| document_url(issuer).map(String::from);
        assert_eq!(url("https://a.example").unwrap(), "https://a.example/.well-known/openid-configuration");
        assert_eq!(url("https://a.example/t/").unwrap(), "https://a.example/t/.well-known/openid-configuration");
        assert!(url("https://a.example/?x=").is_err());
        assert!(url("a").is_err());
    }
}
