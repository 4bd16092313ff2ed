//! The one sentence: who acts for whom, what they may do where, and for how long.

use super::kind::Kind;
use crate::app::Remembered;
use crate::audit::words::printable;
use crate::domain::client::Assurance;
use crate::domain::delegation::ActChain;
use crate::domain::names::ClientId;
use crate::domain::resource::canonical_uri;
use crate::domain::scope::ScopeSet;
use crate::store::StoreError;
use crate::tokens::offline::Outcome;
use serde_json::{Map, Value};
use url::Url;

/// `Acme Assistant, acting for Alice, may see your health records at Health records, 4 minutes left.`
pub(super) async fn summary(
    known: Option<Remembered<'_>>,
    kind: Kind,
    is_proven: Option<Outcome>,
    claims: &Map<String, Value>,
    now: i64,
) -> Result<String, StoreError> {
    let names = Names { known };
    let sentence = match kind {
        Kind::AccessToken => delegation(&names, claims, now).await?,
        Kind::CallerHeader => format!("For the backend behind a proxy: {}", delegation(&names, claims, now).await?),
        Kind::IdToken => {
            let user = text(claims, "name").or_else(|| text(claims, "email")).or_else(|| text(claims, "sub"));
            format!(
                "An ID token of {}: it tells the app {} that {} signed in, {}. It is for that app, and for no backend",
                names.issuer(claims),
                audiences(claims),
                user.unwrap_or("nobody"),
                end(claims, now)
            )
        }
        Kind::OtherAccessToken | Kind::OtherJwt | Kind::LogoutToken | Kind::ClientAssertion | Kind::StatusList => {
            let for_whom = text(claims, "sub").map(|sub| format!(", about {sub}")).unwrap_or_default();
            format!("This is {} of {}{for_whom}, {}", kind.in_words(), names.issuer(claims), end(claims, now))
        }
        Kind::AuthorizationCode
        | Kind::RefreshToken
        | Kind::ClientSecret
        | Kind::RegistrationToken
        | Kind::Encrypted
        | Kind::Unknown => return Ok(format!("This is {}.", kind.in_words())),
    };
    let sentence = printable(&sentence);
    Ok(match is_proven {
        Some(Outcome::Pass) => format!("{sentence}."),
        Some(Outcome::Fail) if kind != Kind::AccessToken && kind != Kind::CallerHeader => format!("{sentence}."),
        Some(Outcome::Fail) => format!("It says, and nothing proves it: {sentence}."),
        Some(Outcome::NotChecked) | None => format!("If its signature is right: {sentence}."),
    })
}

async fn delegation(names: &Names<'_>, claims: &Map<String, Value>, now: i64) -> Result<String, StoreError> {
    let subject = text(claims, "sub").unwrap_or("nobody");
    let chain = claims.get("act").and_then(|act| ActChain::parse(act, ActChain::MAX_DEPTH).ok());
    let who = match &chain {
        Some(chain) => {
            let mut actors = Vec::new();
            for actor in chain.actors() {
                actors.push(names.client(&actor.sub).await?);
            }
            let subject = if claims.contains_key("grant_id") {
                names.user(subject).await?
            } else {
                names.client(subject).await?
            };
            format!("{}, acting for {subject},", actors.join(", asked by "))
        }
        None => format!("{}, for itself,", names.client(subject).await?),
    };
    let audiences = audiences(claims);
    let resource = names.resource(&audiences);
    let place = resource.map_or_else(|| audiences.clone(), |resource| resource.name.clone());
    let scopes: ScopeSet = text(claims, "scope").and_then(|scope| scope.parse().ok()).unwrap_or_default();
    let may: Vec<String> = scopes
        .iter()
        .map(|scope| {
            let declared = resource.and_then(|resource| resource.scope(scope));
            declared.map_or_else(|| scope.as_str().to_owned(), |declared| lower_first(&declared.description))
        })
        .collect();
    let may = if may.is_empty() { "has no scope".to_owned() } else { format!("may {}", listed(&may)) };
    Ok(format!("{who} {may} at {place}, {}", end(claims, now)))
}

/// Names of the registry where there is one, and ids where not.
struct Names<'a> {
    known: Option<Remembered<'a>>,
}

impl<'a> Names<'a> {
    /// What a client is called. Where nobody vouches for its name, it is said that it calls itself so.
    async fn client(&self, id: &str) -> Result<String, StoreError> {
        let (Some(known), Ok(client)) = (self.known, id.parse::<ClientId>()) else {
            return Ok(id.to_owned());
        };
        let Some(entry) = known.clients.find(known.store, known.snapshot, &client).await? else {
            return Ok(id.to_owned());
        };
        Ok(match entry.assurance {
            Assurance::Vetted => entry.client.name.clone(),
            Assurance::Domain => {
                let host = Url::parse(id).ok().and_then(|url| url.host_str().map(str::to_owned));
                format!("the app of {}", host.unwrap_or_else(|| id.to_owned()))
            }
            Assurance::SelfAsserted => format!("an app that calls itself {:?}", entry.client.name),
        })
    }

    async fn user(&self, sub: &str) -> Result<String, StoreError> {
        let (Some(known), Ok(id)) = (self.known, sub.parse()) else {
            return Ok(sub.to_owned());
        };
        let user = known.users.find(known.store, &id).await?;
        let attributes = user.as_ref().map(|user| &user.attributes);
        let name = attributes.and_then(|attributes| attributes.name.as_ref().or(attributes.email.as_ref()));
        Ok(name.cloned().unwrap_or_else(|| sub.to_owned()))
    }

    fn resource(&self, audience: &str) -> Option<&'a crate::domain::resource::Resource> {
        let uri = canonical_uri(audience).ok()?;
        self.known?.snapshot.registry.resource_by_audience(&uri).map(AsRef::as_ref)
    }

    fn issuer(&self, claims: &Map<String, Value>) -> String {
        let Some(iss) = text(claims, "iss") else { return "an unknown issuer".to_owned() };
        let idp = self.known.and_then(|known| known.snapshot.registry.idp_by_issuer(iss));
        idp.map_or_else(|| iss.to_owned(), |idp| format!("the identity provider {} ({iss})", idp.name))
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn audiences(claims: &Map<String, Value>) -> String {
    match claims.get("aud") {
        Some(Value::String(audience)) => audience.clone(),
        Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" and "),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => "no backend".to_owned(),
    }
}

fn end(claims: &Map<String, Value>, now: i64) -> String {
    match claims.get("exp").and_then(Value::as_i64).map(|expires_at| expires_at.saturating_sub(now)) {
        Some(left) if left > 0 => format!("{} left", time(left)),
        Some(left) => format!("ended {} ago", time(left.saturating_neg())),
        None => "without an end".to_owned(),
    }
}

/// A length of time in full words.
fn time(seconds: i64) -> String {
    let (count, unit) = match seconds {
        ..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

fn listed(items: &[String]) -> String {
    match items {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => items.concat(),
    }
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

/// A part of a token as indented JSON. It is foreign text, so what could steer a terminal is written out.
pub fn indented(part: &Map<String, Value>) -> String {
    let lines = serde_json::to_string_pretty(part).unwrap_or_default();
    lines.lines().map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    async fn told(kind: Kind, is_proven: Outcome, claims: Value) -> String {
        summary(None, kind, Some(is_proven), claims.as_object().unwrap(), 1000).await.unwrap()
    }

    #[tokio::test]
    async fn a_token_is_told_in_one_sentence() {
        let claims = json!({
            "sub": "corp|alice", "aud": "https://records.example.com/api", "scope": "records.delete records.read", "exp": 1300,
            "act": {"sub": "records-backend", "act": {"sub": "assistant"}}, "grant_id": "con_1",
        });
        let sentence = "records-backend, asked by assistant, acting for corp|alice, may records.delete and \
                        records.read at https://records.example.com/api, 5 minutes left.";
        assert_eq!(told(Kind::AccessToken, Outcome::Pass, claims.clone()).await, sentence);
        assert_eq!(
            told(Kind::AccessToken, Outcome::NotChecked, claims.clone()).await,
            format!("If its signature is right: {sentence}")
        );
        let forged = told(Kind::AccessToken, Outcome::Fail, claims).await;
        assert_eq!(forged, format!("It says, and nothing proves it: {sentence}"));
        assert_eq!(
            told(Kind::AccessToken, Outcome::Pass, json!({})).await,
            "nobody, for itself, has no scope at no backend, without an end."
        );
    }

    #[tokio::test]
    async fn another_issuers_token_is_told_as_what_it_is() {
        let claims = json!({"iss": "https://idp.example", "sub": "7", "name": "Alice", "aud": "llm-app", "exp": 940});
        assert_eq!(
            told(Kind::IdToken, Outcome::Fail, claims).await,
            "An ID token of https://idp.example: it tells the app llm-app that Alice signed in, ended 60 seconds \
             ago. It is for that app, and for no backend."
        );
        let claims = json!({"iss": "https://idp.example", "sub": "7", "exp": 1001});
        assert_eq!(
            told(Kind::OtherAccessToken, Outcome::Fail, claims).await,
            "This is an access token of https://idp.example, about 7, 1 second left."
        );
        assert_eq!(told(Kind::RefreshToken, Outcome::Fail, json!({})).await, "This is a refresh token.");
    }

    #[tokio::test]
    async fn a_claim_cannot_steer_the_terminal() {
        let claims = json!({"sub": "a\u{1b}[31m\u{9b}\u{202e}b\n\nPASS  signature"});
        let sentence = told(Kind::OtherAccessToken, Outcome::Fail, claims.clone()).await;
        assert!(sentence.contains(r", about a\u{1b}[31m\u{9b}\u{202e}b\n\nPASS  signature, "), "{sentence}");
        assert_eq!(
            indented(claims.as_object().unwrap()),
            "{\n  \"sub\": \"a\\u001b[31m\\u{9b}\\u{202e}b\\n\\nPASS  signature\"\n}"
        );
    }

    #[test]
    fn several_things_are_listed_as_people_do() {
        let items = |count: usize| ["a", "b", "c"].iter().take(count).map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            [listed(&items(0)), listed(&items(1)), listed(&items(2)), listed(&items(3))],
            ["", "a", "a and b", "a, b and c"]
        );
    }
}
