//! Where an identity provider's keys are (OpenID Connect Discovery 1.0 §4).

use super::fetch::{FetchError, Fetcher};
use serde::Deserialize;
use url::Url;

/// What is read of a discovery document.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// The `jwks_uri` in the discovery document of `issuer`. The document's own `issuer` must be the same text.
pub async fn jwks_uri(fetcher: &Fetcher, issuer: &str, allow_private: bool) -> Result<Url, FetchError> {
    let url = document_url(issuer)?;
    let document = fetcher.get_json(&url, allow_private).await?;
    let metadata: Metadata = serde_json::from_slice(&document.body)
        .map_err(|problem| FetchError(format!("{url} is not a discovery document: {problem}")))?;
    // Otherwise one provider could answer for another (Discovery §4.3).
    if metadata.issuer != issuer {
        let said: String = metadata.issuer.chars().take(256).collect();
        return Err(FetchError(format!("{url} is the document of issuer {said:?}, not of {issuer:?}")));
    }
    Url::parse(&metadata.jwks_uri).map_err(|problem| FetchError(format!("jwks_uri in {url}: {problem}")))
}

/// The well-known path is put behind the issuer, a closing slash of which is dropped (Discovery §4.1).
fn document_url(issuer: &str) -> Result<Url, FetchError> {
    let text = format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer));
    let url = Url::parse(&text).map_err(|problem| FetchError(format!("issuer {issuer:?} is not a URL: {problem}")))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(FetchError(format!("issuer {issuer:?} has a query or a fragment")));
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
