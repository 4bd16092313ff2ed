//! The delegation chain: who acts now, and who acted before (RFC 8693 §4.1).

use super::names::ClientId;
use serde_json::{Map, Value, json};

/// One party in an `act` claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The issuer in whose words `sub` is meant.
    pub iss: Option<String>,
    /// The party.
    pub sub: String,
    /// Its OAuth client, if the issuer said so.
    pub client_id: Option<String>,
}

impl Actor {
    /// A client registered here.
    pub fn client(issuer: &str, client: &ClientId) -> Self {
        Self { iss: Some(issuer.to_owned()), sub: client.as_str().to_owned(), client_id: None }
    }

    /// True if `other` names the same party: principals are pairs of `iss` and `sub`.
    pub fn is_same_party(&self, other: &Self) -> bool {
        self.iss == other.iss && self.sub == other.sub
    }
}

/// Why an `act` claim, or one more actor, is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainProblem {
    /// Not a JSON object with the text `sub`, and the texts `iss` and `client_id` if any.
    #[error("an act claim is not an object with a text as sub")]
    Malformed,
    /// More actors than the limit.
    #[error("more than {0} actors")]
    TooDeep(usize),
    /// The new actor already acted earlier in the chain.
    #[error("the actor is already in the chain")]
    Cycle,
}

/// The actors of a delegation, the current one first. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActChain(Vec<Actor>);

impl ActChain {
    /// The most actors a chain may be configured to have.
    pub const MAX_DEPTH: usize = 16;

    /// A chain of one.
    pub fn new(actor: Actor) -> Self {
        Self(vec![actor])
    }

    /// Reads an `act` claim. `exp`, `nbf`, `aud` and other members that identify nobody are not carried on
    /// (RFC 8693 §4.1).
    ///
    /// # Errors
    /// [`ChainProblem::Malformed`], or [`ChainProblem::TooDeep`] as soon as `max_depth` is passed: the rest is not read.
    pub fn parse(act: &Value, max_depth: usize) -> Result<Self, ChainProblem> {
        let mut actors = Vec::new();
        let mut next = Some(act);
        while let Some(value) = next {
            if actors.len() >= max_depth {
                return Err(ChainProblem::TooDeep(max_depth));
            }
            let object = value.as_object().ok_or(ChainProblem::Malformed)?;
            let text = |member: &str| match object.get(member) {
                None => Ok(None),
                Some(Value::String(text)) => Ok(Some(text.clone())),
                Some(_) => Err(ChainProblem::Malformed),
            };
            let sub = text("sub")?.filter(|sub| !sub.is_empty()).ok_or(ChainProblem::Malformed)?;
            actors.push(Actor { iss: text("iss")?, sub, client_id: text("client_id")? });
            next = object.get("act");
        }
        Ok(Self(actors))
    }

    /// The chain with one more actor in front; every earlier one is kept as it was, in order (rule TX-73).
    ///
    /// The party that acts already may ask again: that is no new hop.
    ///
    /// # Errors
    /// [`ChainProblem::TooDeep`] past `max_depth`; [`ChainProblem::Cycle`] if the actor acted before.
    pub fn extend(&self, actor: Actor, max_depth: usize) -> Result<Self, ChainProblem> {
        if self.current().is_same_party(&actor) {
            return if self.0.len() > max_depth { Err(ChainProblem::TooDeep(max_depth)) } else { Ok(self.clone()) };
        }
        if self.0.iter().any(|earlier| earlier.is_same_party(&actor)) {
            return Err(ChainProblem::Cycle);
        }
        if self.0.len() >= max_depth {
            return Err(ChainProblem::TooDeep(max_depth));
        }
        Ok(Self(std::iter::once(actor).chain(self.0.iter().cloned()).collect()))
    }

    /// Who acts now: the outermost `act`, the only one that access may be decided by (rule TX-72).
    pub fn current(&self) -> &Actor {
        self.0.first().expect("a chain is never empty")
    }

    /// The actors, the current one first.
    pub fn actors(&self) -> &[Actor] {
        &self.0
    }

    /// The `act` claim: nested, the current actor outermost.
    pub fn to_claim(&self) -> Value {
        self.0.iter().rev().fold(Value::Null, |earlier, actor| {
            let mut object = Map::new();
            if let Some(iss) = &actor.iss {
                object.insert("iss".to_owned(), json!(iss));
            }
            object.insert("sub".to_owned(), json!(actor.sub));
            if let Some(client_id) = &actor.client_id {
                object.insert("client_id".to_owned(), json!(client_id));
            }
            if !earlier.is_null() {
                object.insert("act".to_owned(), earlier);
            }
            Value::Object(object)
        })
    }
}

/// Whom a subject token allows to act (RFC 8693 §4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MayAct(Map<String, Value>);

impl MayAct {
    /// Reads a `may_act` claim; none if it is not an object.
    pub fn parse(claim: &Value) -> Option<Self> {
        claim.as_object().cloned().map(Self)
    }

    /// True if the actor has every member that is asked for. A member we do not know can't be shown to match,
    /// so it never does (rule TX-38).
    pub fn allows(&self, actor: &Actor) -> bool {
        !self.0.is_empty()
            && self.0.iter().all(|(member, wanted)| {
                let actual = match member.as_str() {
                    "sub" => Some(actor.sub.as_str()),
                    "iss" => actor.iss.as_deref(),
                    "client_id" => Some(actor.client_id.as_deref().unwrap_or(&actor.sub)),
                    _ => None,
                };
                actual.is_some() && wanted.as_str() == actual
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn actor(sub: &str) -> Actor {
        Actor { iss: Some("https://auth.example.com".to_owned()), sub: sub.to_owned(), client_id: None }
    }

    #[test]
    fn an_act_that_is_no_object_or_has_no_text_as_sub_is_malformed() {
        for act in
            [json!([]), json!("a"), json!({}), json!({"sub": 1}), json!({"sub": ""}), json!({"sub": "a", "act": 1})]
        {
            assert_eq!(ActChain::parse(&act, 4), Err(ChainProblem::Malformed), "{act}");
        }
    }

    #[test]
    fn members_that_identify_nobody_are_not_carried_on() {
        let chain = ActChain::parse(&json!({"sub": "a", "exp": 1, "aud": "x"}), 4).unwrap();
        assert_eq!(chain.to_claim(), json!({"sub": "a"}));
    }

    #[test]
    fn the_fifth_actor_is_too_deep_and_an_earlier_one_a_cycle() {
        let chain =
            ["b", "c", "d"].iter().fold(ActChain::new(actor("a")), |chain, name| chain.extend(actor(name), 4).unwrap());
        assert_eq!(chain.extend(actor("e"), 4), Err(ChainProblem::TooDeep(4)));
        assert_eq!(chain.extend(actor("b"), 8), Err(ChainProblem::Cycle));
        assert_eq!(chain.extend(actor("d"), 4).unwrap(), chain);
    }

    #[test]
    fn the_same_sub_of_another_issuer_is_another_party() {
        let foreign = Actor { iss: Some("https://idp.example".to_owned()), ..actor("a") };
        assert_eq!(ActChain::new(foreign).extend(actor("a"), 4).unwrap().actors().len(), 2);
    }

    #[test]
    fn may_act_must_match_in_every_member() {
        let party = actor("assistant");
        let allows = |claim: Value| MayAct::parse(&claim).unwrap().allows(&party);
        assert!(allows(json!({"sub": "assistant"})));
        assert!(allows(json!({"sub": "assistant", "iss": "https://auth.example.com"})));
        assert!(!allows(json!({"sub": "other"})));
        assert!(!allows(json!({"sub": "assistant", "iss": "https://elsewhere.example"})));
        assert!(!allows(json!({"sub": "assistant", "department": "x"})));
        assert!(!allows(json!({})));
    }

    proptest! {
        #[test]
        fn extending_never_loses_or_reorders_an_actor(names in proptest::collection::hash_set("[a-z]{1,6}", 1..8)) {
            let mut names = names.into_iter();
            let mut chain = ActChain::new(actor(&names.next().unwrap()));
            for name in names {
                let longer = chain.extend(actor(&name), 16).unwrap();
                prop_assert_eq!(&longer.actors()[1..], chain.actors());
                prop_assert_eq!(ActChain::parse(&longer.to_claim(), 16).unwrap(), longer.clone());
                chain = longer;
            }
        }
    }
}
