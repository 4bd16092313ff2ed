//! A token in words, with every check that a verifier would make and what to do about each that fails: for `procura
//! inspect` and the page `/inspect`. It is sent nowhere.

mod fix;
mod kind;
mod words;

pub use kind::Kind;
pub use words::indented;

use super::standing::{Ended, Held, still_good_for};
use crate::app::Remembered;
use crate::audit::words::printable;
use crate::domain::delegation::ActChain;
use crate::domain::resource::{Resource, canonical_uri};
use crate::domain::token_status::{TokenStatus, index_of};
use crate::store::StoreError;
use crate::tokens::offline::{Check, Examination, Expectations, Outcome};
use fix::Circumstances;
use serde::Serialize;
use serde_json::{Map, Value};

/// What a token is checked against, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Against<'a> {
    /// The issuer that it should be from.
    pub issuer: Option<&'a str>,
    /// The backend that it should be for: its audience, or its id where a registry is at hand.
    pub audience: Option<&'a str>,
    /// The issuer's JWKS (JSON).
    pub jwks: Option<&'a str>,
}

/// One check, and what to do if it did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name, for example `signature`.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in words.
    pub detail: String,
    /// What to do; none if it passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// All that there is to say of a token.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// In one sentence.
    pub summary: String,
    /// What kind of text it is.
    pub kind: Kind,
    /// The checks of a verifier, then what is remembered of it.
    pub checks: Vec<Finding>,
    /// The header; empty if it cannot be read.
    pub header: Map<String, Value>,
    /// The claims; not verified, but as far as `checks` say.
    pub claims: Map<String, Value>,
    /// The command that says who got it, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum InspectionProblem {
    /// The JWKS cannot be read; why.
    #[error("{0}")]
    Keys(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Inspection {
    /// The names of the checks that failed.
    pub fn failed(&self) -> Vec<&'static str> {
        let failed = self.checks.iter().filter(|check| check.outcome == Outcome::Fail);
        failed.map(|check| check.name).collect()
    }

    /// What would come of it at a backend, in one line.
    pub fn verdict(&self) -> String {
        let failed = self.failed();
        let is_unchecked = |name: &str| self.checks.iter().any(|c| c.name == name && c.outcome == Outcome::NotChecked);
        if failed == [STANDING] {
            "this token counts no more: a backend that does not ask takes it until it ends".to_owned()
        } else if !failed.is_empty() {
            format!("a verifier would refuse this token: {}", failed.join(", "))
        } else if ["signature", "iss", "aud"].into_iter().any(is_unchecked) {
            "nothing is wrong with this token as far as it could be checked".to_owned()
        } else if is_unchecked("act") {
            "a verifier would accept this token if it lets clients speak for themselves".to_owned()
        } else {
            "a verifier would accept this token".to_owned()
        }
    }
}

/// The check that is made of what is remembered, not of the token.
const STANDING: &str = "standing";

/// What to do about a token that names nobody who acts.
const OWN_TOKEN: &str = "It is a client's own. A backend refuses it, unless it was set up to let clients speak for \
                         themselves. If somebody is to act for a user, let the client exchange the user's token.";

/// Whoever makes a token up shall learn nothing by it.
const UNPROVEN: &str = "only a token whose signature is right is looked up";

/// Looks at a token from every side. With `known`, names are those of the registry, and it is said whether the token
/// still counts.
///
/// # Errors
/// [`InspectionProblem`]: whatever the token is, there is something to say of it.
pub async fn inspect(
    token: &str,
    against: Against<'_>,
    known: Option<Remembered<'_>>,
    now: i64,
) -> Result<Inspection, InspectionProblem> {
    let token = bare(token);
    let backend = against.audience.and_then(|name| resource(known, name));
    let audience = backend.map(|backend| backend.audience.as_str()).or(against.audience);
    let expectations = Expectations::new(against.issuer, audience, against.jwks).map_err(InspectionProblem::Keys)?;
    let Examination { checks, header, claims } = expectations.examine(token, now);
    let kind = Kind::of(token, &header, &claims);
    let circumstances = Circumstances { against, audience, kind, header: &header, claims: &claims, now };
    let is_proven = checks.iter().find(|check| check.name == "signature").map(|check| check.outcome);
    let mut findings: Vec<Finding> = checks.into_iter().map(|check| circumstances.finding(check)).collect();
    if kind == Kind::AccessToken {
        findings.push(standing(known, is_proven, &claims, now).await?);
        findings.push(issued(known, is_proven, &claims).await?);
    }
    if let Some(act) = findings.iter_mut().find(|check| check.name == "act")
        && act.outcome == Outcome::Pass
        && kind == Kind::AccessToken
        && !claims.contains_key("act")
    {
        (act.outcome, act.fix) = (Outcome::NotChecked, Some(OWN_TOKEN.to_owned()));
    }
    let mut summary = words::summary(known, kind, is_proven, &claims, now).await?;
    // Of a token that somebody made up it would be a token of somebody else.
    let has_event = kind.has_event() && is_proven != Some(Outcome::Fail);
    let jti = claims.get("jti").and_then(Value::as_str).filter(|_| has_event);
    let is_plain =
        |jti: &&str| !jti.is_empty() && jti.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let who = jti.filter(is_plain).map(|jti| format!("procura who {jti}"));
    let mut inspection = Inspection { summary: String::new(), kind, checks: findings, header, claims, who };
    // What it says and what comes of it are not the same.
    if kind == Kind::AccessToken && is_proven == Some(Outcome::Pass) && !inspection.failed().is_empty() {
        summary = format!("{summary} But {}.", inspection.verdict());
    }
    inspection.summary = summary;
    Ok(inspection)
}

/// The token of a whole `Authorization` header, too.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let text = text.strip_prefix("Authorization:").map_or(text, str::trim_start);
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => text,
    }
}

fn resource<'a>(known: Option<Remembered<'a>>, name: &str) -> Option<&'a Resource> {
    let registry = &known?.snapshot.registry;
    let by_audience = canonical_uri(name).ok().and_then(|uri| registry.resource_by_audience(&uri));
    by_audience.or_else(|| registry.resource_by_name(name)).map(AsRef::as_ref)
}

/// Whether it still counts, by what is remembered of session, user, client and consents.
async fn standing(
    known: Option<Remembered<'_>>,
    is_proven: Option<Outcome>,
    claims: &Map<String, Value>,
    now: i64,
) -> Result<Finding, StoreError> {
    let not_checked = |detail: &str, fix: &str| Finding {
        name: STANDING,
        outcome: Outcome::NotChecked,
        detail: detail.to_owned(),
        fix: Some(fix.to_owned()),
    };
    let Some(known) = known else {
        let fix =
            "Run it where the server's configuration and database are: then it says whether the token was taken back.";
        return Ok(not_checked("no database is at hand", fix));
    };
    if is_proven != Some(Outcome::Pass) {
        return Ok(not_checked(UNPROVEN, "See signature."));
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let earlier = claims.get("earlier_grants").and_then(Value::as_array).into_iter().flatten();
    let earlier: Vec<String> = earlier.filter_map(Value::as_str).map(str::to_owned).collect();
    let audiences: Vec<String> = text("aud").map(str::to_owned).into_iter().collect();
    let act = claims.get("act").and_then(|act| ActChain::parse(act, ActChain::MAX_DEPTH).ok());
    let issuer = text("iss").unwrap_or_default();
    let entry = claims.get("status").and_then(|status| status.get("status_list"));
    let held = Held {
        sub: text("sub").unwrap_or_default(),
        client_id: text("client_id").unwrap_or_default(),
        grant_id: text("grant_id"),
        earlier_grants: &earlier,
        sid: text("sid"),
        scopes: text("scope").and_then(|scope| scope.parse().ok()).unwrap_or_default(),
        audiences: &audiences,
        act: act.as_ref(),
        txn: text("txn"),
        issued_at: claims.get("iat").and_then(Value::as_i64).unwrap_or(0),
        status: entry.and_then(|entry| index_of(issuer, entry.get("uri")?.as_str()?, entry.get("idx")?.as_i64()?)),
        issuer,
    };
    Ok(match still_good_for(known, now, &held).await? {
        Ok(scopes) if scopes == held.scopes => Finding {
            name: STANDING,
            outcome: Outcome::Pass,
            detail: "its session, user, client and consents go on".to_owned(),
            fix: None,
        },
        Ok(scopes) => Finding {
            name: STANDING,
            outcome: Outcome::Pass,
            detail: format!("it goes on, but its user narrowed it: it is still good for {scopes}"),
            fix: None,
        },
        Err(ended) => Finding {
            name: STANDING,
            outcome: Outcome::Fail,
            detail: printable(&ended.in_words()),
            fix: Some(on_again(&ended, &held)),
        },
    })
}

/// What would let such a token count again.
fn on_again(ended: &Ended, held: &Held<'_>) -> String {
    let (client, user) = (printable(held.client_id), printable(held.sub));
    match ended {
        Ended::ClientGone(name) => format!("Declare client {name} again, or let it register again."),
        Ended::ClientSuspended(id) => format!("If it may go on: procura client resume {id}"),
        Ended::ProviderGone(id) => format!("If its users may be acted for, declare identity provider {id} again."),
        Ended::UserSuspended => format!("If they may be acted for again: procura user resume '{user}'"),
        Ended::Revoked(_) | Ended::InStatusList(TokenStatus::Valid | TokenStatus::Invalid) => {
            "The client gets a new token, if it still may; this one does not come back.".to_owned()
        }
        Ended::InStatusList(TokenStatus::Suspended) => {
            "A client on its way or its user is suspended, or the user paused a client: see procura client list and \
             procura user list --suspended."
                .to_owned()
        }
        Ended::SessionEnded(_) => "The user connects the client again; this token does not come back.".to_owned(),
        Ended::ConsentEnded | Ended::NothingLeft => format!(
            "The user agrees again, and the client gets a new token. What they agreed to: procura consent list \
             --user '{user}' --client {client} --all"
        ),
    }
}

/// Whether it is on record that it was issued here.
async fn issued(
    known: Option<Remembered<'_>>,
    is_proven: Option<Outcome>,
    claims: &Map<String, Value>,
) -> Result<Finding, StoreError> {
    let name = "issued";
    let not_checked = |detail: &str, fix: &str| Finding {
        name,
        outcome: Outcome::NotChecked,
        detail: detail.to_owned(),
        fix: Some(fix.to_owned()),
    };
    let Some(known) = known else {
        return Ok(not_checked("no database is at hand", "See standing."));
    };
    if is_proven != Some(Outcome::Pass) {
        return Ok(not_checked(UNPROVEN, "See signature."));
    }
    let jti = claims.get("jti").and_then(Value::as_str).unwrap_or_default();
    Ok(match known.store.event_of_token(jti).await? {
        Some(event) => {
            let detail = format!("on record: request {}", printable(&event.request_id));
            Finding { name, outcome: Outcome::Pass, detail, fix: None }
        }
        None => not_checked(
            "no event of it is on record here",
            "Look at the other servers of this issuer: each database has its own events. It may also have been removed by age.",
        ),
    })
}

impl Circumstances<'_> {
    fn finding(&self, check: Check) -> Finding {
        let Check { name, outcome, detail } = check;
        let fix = match outcome {
            Outcome::Pass => None,
            Outcome::Fail => Some(self.mend(name, &detail)),
            Outcome::NotChecked => Some(self.say(name)),
        };
        let detail = if detail.is_empty() { "none".to_owned() } else { printable(&detail) };
        Finding { name, outcome, detail, fix: fix.map(|fix| printable(&fix)) }
    }
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn a_whole_header_is_taken_for_its_token() {
        for text in ["a.b.c", " a.b.c\n", "Bearer a.b.c", "bearer  a.b.c", "Authorization: Bearer a.b.c"] {
            assert_eq!(bare(text), "a.b.c", "{text:?}");
        }
        assert_eq!(bare("not a token"), "not a token");
    }
}
