//! What a client says of itself: in a dynamic registration (RFC 7591 §2), or in a document under its own domain (Client
//! ID Metadata Documents). Nobody vouches for any of it.

use super::client::{Client, ClientAuthentication, ConsentMode, GrantType};
use super::key_set;
use super::names::{ClientId, is_unseen};
use super::redirect_uri::{self, RedirectKind};
use super::scope::ScopeSet;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use url::Url;

/// The most characters of a name, and of other short texts.
const NAME_CHARACTERS: usize = 100;
/// The most bytes of a URL.
const URL_BYTES: usize = 2048;
/// The most members of a list.
const LIST_MEMBERS: usize = 32;

/// Members that are kept as they are if they are a URL that a person could follow. Nothing is ever fetched from there.
const LINKS: [&str; 4] = ["client_uri", "logo_uri", "tos_uri", "policy_uri"];
/// Members that are kept as they are if they are a short text.
const TEXTS: [&str; 2] = ["software_id", "software_version"];

/// Why what a client says of itself cannot be taken (RFC 7591 §3.2.2). It names the member, and repeats no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataProblem {
    /// A redirect URI: `invalid_redirect_uri`.
    #[error("{0}")]
    RedirectUri(String),
    /// Anything else: `invalid_client_metadata`.
    #[error("{0}")]
    Metadata(String),
}

impl MetadataProblem {
    /// The `error` on the wire.
    pub fn error(&self) -> &'static str {
        match self {
            Self::RedirectUri(_) => "invalid_redirect_uri",
            Self::Metadata(_) => "invalid_client_metadata",
        }
    }
}

/// What was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// The client, without any backend: which ones it may reach is not for it to say.
    pub client: Client,
    /// Ways to authenticate besides the one in `client`.
    pub other_authentication: Vec<ClientAuthentication>,
    /// The members that count, for the answer to a registration.
    pub metadata: Map<String, Value>,
}

/// Reads the body of a dynamic registration. Unknown members, `client_id` and `client_secret` among them, are ignored;
/// `private_use` are the redirect URIs of private-use schemes that are let in, to the byte.
pub fn registration(
    id: ClientId,
    members: &Map<String, Value>,
    private_use: &[String],
) -> Result<Described, MetadataProblem> {
    let reader = Reader { members };
    let name = reader.name()?.unwrap_or_default();
    let uris = reader.redirect_uris(private_use)?;
    let grants = reader.grants()?;
    reader.response_types()?;
    let keys = reader.keys()?;
    let method = match reader.text("token_endpoint_auth_method")? {
        None => ClientAuthentication::ClientSecretBasic,
        Some(name) => {
            authentication(name).ok_or_else(|| problem("token_endpoint_auth_method", "is none that this server has"))?
        }
    };
    match (method == ClientAuthentication::PrivateKeyJwt, keys.is_some()) {
        (true, false) => {
            return Err(problem("token_endpoint_auth_method", "is private_key_jwt, which needs `jwks` or `jwks_uri`"));
        }
        (false, true) => {
            return Err(problem("token_endpoint_auth_method", "is not private_key_jwt, but there are keys"));
        }
        (true, true) | (false, false) => {}
    }
    let (jwks, jwks_uri) = keys.map_or((None, None), Keys::split);
    let client = client(id, name, method, jwks, jwks_uri, grants, uris);
    let metadata = reader.kept(&client)?;
    Ok(Described { client, other_authentication: Vec::new(), metadata })
}

/// Reads a client metadata document that was found under the URL `id` (rules CM-03, CM-04, CM-17, CM-19).
pub fn document(
    id: &ClientId,
    members: &Map<String, Value>,
    private_use: &[String],
) -> Result<Described, MetadataProblem> {
    let reader = Reader { members };
    if reader.text("client_id")? != Some(id.as_str()) {
        return Err(problem("client_id", "is not the URL of the document, to the letter"));
    }
    for member in ["client_secret", "client_secret_expires_at"] {
        if members.contains_key(member) {
            return Err(problem(member, "has no place in a document that anybody can read"));
        }
    }
    let name = reader.name()?.ok_or_else(|| problem("client_name", "is missing"))?;
    let uris = reader.redirect_uris(private_use)?;
    let grants = reader.grants()?;
    reader.response_types()?;
    let keys = reader.keys()?;
    let methods = reader.methods(keys.is_some())?;
    let (Some(method), others) = (methods.first().copied(), methods.iter().skip(1).copied().collect::<Vec<_>>()) else {
        return Err(problem("token_endpoint_auth_method", "is neither none nor private_key_jwt with keys"));
    };
    // Keys that nothing is checked with are not kept.
    let keys = keys.filter(|_| methods.contains(&ClientAuthentication::PrivateKeyJwt));
    let (jwks, jwks_uri) = keys.map_or((None, None), Keys::split);
    let client = client(id.clone(), name, method, jwks, jwks_uri, grants, uris);
    let metadata = reader.kept(&client)?;
    Ok(Described { client, other_authentication: others, metadata })
}

/// Keys in one of two forms.
enum Keys {
    Inline(Value),
    Address(Url),
}

impl Keys {
    fn split(self) -> (Option<Value>, Option<Url>) {
        match self {
            Self::Inline(jwks) => (Some(jwks), None),
            Self::Address(url) => (None, Some(url)),
        }
    }
}

fn client(
    id: ClientId,
    name: String,
    authentication: ClientAuthentication,
    jwks: Option<Value>,
    jwks_uri: Option<Url>,
    grants: Vec<GrantType>,
    redirect_uris: Vec<String>,
) -> Client {
    Client {
        id,
        name,
        authentication,
        jwks_uri,
        jwks,
        grants,
        redirect_uris,
        consent: ConsentMode::User,
        may_act_for: Vec::new(),
        may_present: Vec::new(),
        resources: BTreeMap::new(),
        default_resource: None,
    }
}

fn problem(member: &str, problem: &str) -> MetadataProblem {
    MetadataProblem::Metadata(format!("{member} {problem}"))
}

fn authentication(name: &str) -> Option<ClientAuthentication> {
    let known = [
        ClientAuthentication::None,
        ClientAuthentication::PrivateKeyJwt,
        ClientAuthentication::ClientSecretBasic,
        ClientAuthentication::ClientSecretPost,
    ];
    known.into_iter().find(|method| method.as_str() == name)
}

/// The members, each read in one way.
struct Reader<'a> {
    members: &'a Map<String, Value>,
}

impl<'a> Reader<'a> {
    /// A member; null counts as absent (RFC 7591 §2).
    fn get(&self, member: &str) -> Option<&'a Value> {
        self.members.get(member).filter(|value| !value.is_null())
    }

    fn text(&self, member: &str) -> Result<Option<&'a str>, MetadataProblem> {
        self.get(member).map(|value| value.as_str().ok_or_else(|| problem(member, "is not a text"))).transpose()
    }

    fn texts(&self, member: &str) -> Result<Option<Vec<&'a str>>, MetadataProblem> {
        let Some(value) = self.get(member) else { return Ok(None) };
        let items = value.as_array().ok_or_else(|| problem(member, "is not an array"))?;
        if items.len() > LIST_MEMBERS {
            return Err(problem(member, "has more than 32 members"));
        }
        let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
        texts.map(Some).ok_or_else(|| problem(member, "has a member that is not a text"))
    }

    /// A name as it is said; where it is shown it is marked as nothing more.
    fn name(&self) -> Result<Option<String>, MetadataProblem> {
        let Some(name) = self.text("client_name")? else { return Ok(None) };
        short(name).map_err(|why| problem("client_name", why))?;
        Ok(Some(name.to_owned()))
    }

    fn redirect_uris(&self, private_use: &[String]) -> Result<Vec<String>, MetadataProblem> {
        let refused = |why: String| Err(MetadataProblem::RedirectUri(why));
        let Some(value) = self.get("redirect_uris") else {
            return refused("redirect_uris is missing".to_owned());
        };
        let items = value.as_array().filter(|items| (1..=LIST_MEMBERS).contains(&items.len()));
        let Some(items) = items else {
            return refused("redirect_uris is not an array of 1 to 32 URIs".to_owned());
        };
        let application = self.text("application_type")?;
        if application.is_some_and(|kind| !matches!(kind, "web" | "native")) {
            return Err(problem("application_type", "is neither web nor native"));
        }
        let mut uris: Vec<String> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let name = format!("redirect_uris[{index}]");
            let Some(uri) = item.as_str() else { return refused(format!("{name} is not a text")) };
            match redirect_uri::check(uri) {
                Err(why) => return refused(format!("{name} {why}")),
                Ok(RedirectKind::PrivateUse) if !private_use.iter().any(|allowed| allowed == uri) => {
                    return refused(format!("{name} has a scheme of its own, and is not one that this server knows"));
                }
                Ok(RedirectKind::Loopback | RedirectKind::PrivateUse) if application == Some("web") => {
                    return refused(format!("{name} is for a program on a device, and application_type is web"));
                }
                Ok(RedirectKind::Https | RedirectKind::Loopback | RedirectKind::PrivateUse) => {}
            }
            if !uris.iter().any(|other| other == uri) {
                uris.push(uri.to_owned());
            }
        }
        Ok(uris)
    }

    /// What of it we have; what we do not is left out (rules RG-05, CM-19).
    fn grants(&self) -> Result<Vec<GrantType>, MetadataProblem> {
        let ours = [GrantType::AuthorizationCode, GrantType::RefreshToken];
        let Some(asked) = self.texts("grant_types")? else { return Ok(vec![GrantType::AuthorizationCode]) };
        let grants: Vec<GrantType> = ours.into_iter().filter(|grant| asked.contains(&grant.as_str())).collect();
        if grants.contains(&GrantType::AuthorizationCode) {
            Ok(grants)
        } else {
            Err(problem("grant_types", "lacks authorization_code, without which a client can do nothing here"))
        }
    }

    fn response_types(&self) -> Result<(), MetadataProblem> {
        match self.texts("response_types")? {
            Some(types) if !types.contains(&"code") => Err(problem("response_types", "lacks code")),
            Some(_) | None => Ok(()),
        }
    }

    fn keys(&self) -> Result<Option<Keys>, MetadataProblem> {
        match (self.get("jwks"), self.text("jwks_uri")?) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(problem("jwks_uri", "is there together with jwks: one of them")),
            (Some(jwks), None) => {
                key_set::check_public(jwks).map_err(|why| problem("jwks", why))?;
                Ok(Some(Keys::Inline(jwks.clone())))
            }
            (None, Some(text)) => {
                let url = link(text).map_err(|why| problem("jwks_uri", why))?;
                Ok(Some(Keys::Address(url)))
            }
        }
    }

    /// How the client of a document may authenticate, what it prefers first. Of several that it names we take those we
    /// have (rule CM-17); that it prefers one that we have not is no reason to turn it away (rule CL-02).
    fn methods(&self, has_keys: bool) -> Result<Vec<ClientAuthentication>, MetadataProblem> {
        let (one, several) = ("token_endpoint_auth_method", "token_endpoint_auth_methods_supported");
        let preferred = self.text(one)?;
        let named = self.texts(several)?;
        for (member, name) in
            preferred.map(|name| (one, name)).into_iter().chain(named.iter().flatten().map(|name| (several, *name)))
        {
            if name.starts_with("client_secret") {
                return Err(problem(member, "names a shared secret, which a document cannot hold"));
            }
        }
        let named = named.unwrap_or_else(|| vec![preferred.unwrap_or("none")]);
        let is_ours = |method: &ClientAuthentication| match method {
            ClientAuthentication::None => true,
            ClientAuthentication::PrivateKeyJwt => has_keys,
            ClientAuthentication::ClientSecretBasic | ClientAuthentication::ClientSecretPost => false,
        };
        let mut methods: Vec<ClientAuthentication> = [ClientAuthentication::PrivateKeyJwt, ClientAuthentication::None]
            .into_iter()
            .filter(|method| is_ours(method) && named.contains(&method.as_str()))
            .collect();
        methods.sort_by_key(|method| Some(method.as_str()) != preferred);
        Ok(methods)
    }

    /// The members that count, as they are registered (RFC 7591 §3.2.1).
    fn kept(&self, client: &Client) -> Result<Map<String, Value>, MetadataProblem> {
        let mut kept = Map::new();
        if !client.name.is_empty() {
            kept.insert("client_name".to_owned(), json!(client.name));
        }
        kept.insert("redirect_uris".to_owned(), json!(client.redirect_uris));
        let grants: Vec<&str> = client.grants.iter().map(|grant| grant.as_str()).collect();
        kept.insert("grant_types".to_owned(), json!(grants));
        kept.insert("response_types".to_owned(), json!(["code"]));
        kept.insert("token_endpoint_auth_method".to_owned(), json!(client.authentication.as_str()));
        let is_native = client.redirect_uris.iter().any(|uri| redirect_uri::kind(uri) != Some(RedirectKind::Https));
        let application = self.text("application_type")?.unwrap_or(if is_native { "native" } else { "web" });
        kept.insert("application_type".to_owned(), json!(application));
        if let Some(jwks) = &client.jwks {
            kept.insert("jwks".to_owned(), jwks.clone());
        }
        if let Some(jwks_uri) = &client.jwks_uri {
            kept.insert("jwks_uri".to_owned(), json!(jwks_uri.as_str()));
        }
        for member in LINKS {
            if let Some(text) = self.text(member)? {
                link(text).map_err(|why| problem(member, why))?;
                kept.insert(member.to_owned(), json!(text));
            }
        }
        for member in TEXTS {
            if let Some(text) = self.text(member)? {
                short(text).map_err(|why| problem(member, why))?;
                kept.insert(member.to_owned(), json!(text));
            }
        }
        if let Some(contacts) = self.texts("contacts")? {
            contacts.iter().try_for_each(|text| short(text)).map_err(|why| problem("contacts", why))?;
            kept.insert("contacts".to_owned(), json!(contacts));
        }
        // Said, and no ceiling: what it gets is decided when it asks.
        if let Some(scope) = self.text("scope")? {
            scope.parse::<ScopeSet>().map_err(|_| problem("scope", "is not a list of scopes"))?;
            kept.insert("scope".to_owned(), json!(scope));
        }
        Ok(kept)
    }
}

fn short(text: &str) -> Result<(), &'static str> {
    if text.trim().is_empty() {
        Err("is empty")
    } else if text.chars().any(is_unseen) {
        Err("has a control or invisible character")
    } else if text.chars().count() > NAME_CHARACTERS {
        Err("is longer than 100 characters")
    } else {
        Ok(())
    }
}

/// A URL of a document or of a page. Whether it may be fetched from is checked where it is fetched.
fn link(text: &str) -> Result<Url, &'static str> {
    if text.len() > URL_BYTES {
        return Err("is longer than 2048 bytes");
    }
    if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err("has a blank or a character that a URL cannot have");
    }
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        return Err("is not a https URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password");
    }
    if url.fragment().is_some() { Err("has a fragment") } else { Ok(url) }
}

#[cfg(test)]
mod tests;
