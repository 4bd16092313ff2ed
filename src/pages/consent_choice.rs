//! What a user can answer when a client wants to act for them, and what they answered: which scopes, and for how long.

use super::posted::Posted;
use crate::domain::client::Client;
use crate::domain::consent::Consent;
use crate::domain::resource::Resource;
use crate::domain::scope::ScopeSet;
use crate::grants::consent::Lasts;

/// What the user chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// Whether the client may act.
    pub(super) allow: bool,
    /// For what: all that the client may do at this backend from now on. Empty if it may not act.
    pub(super) scopes: ScopeSet,
    /// For how long.
    pub(super) lasts: Lasts,
}

/// The live agreement with this client at this backend, if the client still is what it was then.
pub(super) fn agreed_before<'a>(
    consents: &'a [Consent],
    client: &Client,
    resource: &Resource,
    now: i64,
) -> Option<&'a Consent> {
    consents.iter().find(|consent| consent.is_with(client, &resource.id) && consent.is_live(now))
}

/// True while the user keeps the client waiting at this backend. Nothing is asked meanwhile: an answer would replace what
/// they paused.
pub(super) fn is_paused(consents: &[Consent], client: &Client, resource: &Resource, now: i64) -> bool {
    let is_it = |consent: &&Consent| consent.client == client.id && consent.resource == resource.id;
    consents.iter().filter(is_it).any(|consent| consent.is_paused(now))
}

/// What a user can agree to: what is asked, and what they agreed to before, for an answer replaces an earlier one.
pub(super) fn offered(asked: &ScopeSet, agreed: Option<&Consent>) -> ScopeSet {
    let before = agreed.into_iter().flat_map(|consent| &consent.scopes);
    asked.iter().chain(before).cloned().collect()
}

/// Reads the answer to what was [`offered`]; `agreed` is the agreement that it replaces.
///
/// # Errors
/// What to tell the user, so that they can answer again.
pub(super) fn read_choice(
    posted: &Posted,
    offered: &ScopeSet,
    agreed: Option<&Consent>,
) -> Result<Choice, &'static str> {
    match posted.one("decision") {
        Some("deny") => return Ok(Choice { allow: false, scopes: ScopeSet::default(), lasts: Lasts::Hour }),
        Some("allow") => {}
        Some(_) | None => return Err("Choose Allow or Deny."),
    }
    // The answer would take away what this page did not show.
    if agreed.is_some_and(|consent| !consent.scopes.is_subset(offered)) {
        return Err(
            "You allowed this app something else meanwhile. Here is all of it together: look at it, and answer again.",
        );
    }
    let ticked: Vec<&str> = posted.all("scope").collect();
    let (scopes, _) = offered.clone().partition(|scope| ticked.contains(&scope.as_str()));
    if scopes.is_empty() {
        return Err("Nothing is ticked, so there is nothing to allow. Tick what the app may do, or choose Deny.");
    }
    let lasts = chosen(posted, agreed).ok_or("Choose for how long the app may act for you.")?;
    Ok(Choice { allow: true, scopes, lasts })
}

/// For how long it can be: first as long as before, so that a new scope changes nothing else.
pub(super) fn durations(agreed: Option<&Consent>) -> Vec<Lasts> {
    let before = agreed.map(|consent| Lasts::AsBefore(consent.expires_at));
    let others =
        Lasts::ALL.into_iter().filter(|lasts| *lasts != Lasts::UntilRevoked || before != Some(Lasts::AsBefore(None)));
    before.into_iter().chain(others).collect()
}

/// For how long, if the form says so.
pub(super) fn chosen(posted: &Posted, agreed: Option<&Consent>) -> Option<Lasts> {
    let value = posted.one("lasts")?;
    durations(agreed).into_iter().find(|lasts| value_of(*lasts) == value)
}

/// The value of the field.
pub(super) fn value_of(lasts: Lasts) -> &'static str {
    match lasts {
        Lasts::Hour => "hour",
        Lasts::Day => "day",
        Lasts::Month => "month",
        Lasts::UntilRevoked => "until_revoked",
        Lasts::AsBefore(_) => "as_before",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(body: &str) -> Result<Choice, &'static str> {
        let offered = "records.read records.delete".parse().unwrap();
        read_choice(&Posted::parse(body.as_bytes()).unwrap(), &offered, None)
    }

    fn agreed(expires_at: Option<i64>) -> Consent {
        serde_json::from_value(serde_json::json!({
            "id": "con_1", "user": {"one": "corp|alice"}, "client": "assistant", "resource": "records",
            "scopes": "records.read", "source": "user", "granted_at": 1, "expires_at": expires_at, "revoked_at": null,
        }))
        .unwrap()
    }

    #[test]
    fn with_an_agreement_it_can_last_as_before_and_without_one_it_cannot() {
        let posted = Posted::parse(b"decision=allow&scope=records.read&lasts=as_before").unwrap();
        let offered = "records.read".parse().unwrap();
        let lasts = |agreed: Option<&Consent>| read_choice(&posted, &offered, agreed).map(|choice| choice.lasts);
        assert!(lasts(None).unwrap_err().contains("for how long"));
        assert_eq!(lasts(Some(&agreed(Some(7)))), Ok(Lasts::AsBefore(Some(7))));
        assert_eq!(Lasts::AsBefore(Some(7)).ends_at(100), Some(7), "neither longer nor shorter");
        let values = |end| durations(Some(&agreed(end))).into_iter().map(value_of).collect::<Vec<_>>();
        assert_eq!(values(Some(7)), ["as_before", "hour", "day", "month", "until_revoked"]);
        assert_eq!(values(None), ["as_before", "hour", "day", "month"]);
    }

    #[test]
    fn only_what_was_offered_and_ticked_is_agreed_to() {
        let body = "decision=allow&scope=records.read&scope=records.write&lasts=day";
        let expected = Choice { allow: true, scopes: "records.read".parse().unwrap(), lasts: Lasts::Day };
        assert_eq!(choice(body), Ok(expected));
    }

    #[test]
    fn an_answer_that_says_too_little_is_asked_again() {
        assert!(choice("decision=allow&lasts=day").unwrap_err().contains("Nothing is ticked"));
        assert!(choice("decision=allow&scope=records.read").unwrap_err().contains("for how long"));
        assert!(choice("decision=allow&scope=records.read&lasts=always").unwrap_err().contains("for how long"));
        for body in ["scope=records.read&lasts=day", "decision=maybe", "decision=allow&decision=deny"] {
            assert!(choice(body).unwrap_err().contains("Allow or Deny"), "{body}");
        }
    }

    #[test]
    fn no_needs_nothing_else() {
        let choice = choice("decision=deny&scope=records.read").unwrap();
        assert!(!choice.allow && choice.scopes.is_empty());
    }
}
