//! Verdicts remembered: the same policies asked the same question answer the same.
//!
//! A question is remembered by all of it that the policies of a scope can read. What they read is found in their text when
//! they are compiled: most never look at the clock or at who exactly the user is, so that one evaluation serves every user
//! of the same roles. A set of policies is replaced as a whole when anything changes, and its memory with it.

use super::{PolicyQuestion, Principal, Verdict};
use crate::domain::client::GrantType;
use cedar_policy::Policy;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{PoisonError, RwLock};

/// Verdicts remembered at most; then all are forgotten.
const MOST: usize = 10_000;

/// What the policies of a scope read beyond what nearly all read. When in doubt, true.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reads {
    /// `context.now` or `context.auth_time`: then nothing is remembered.
    pub(super) time: bool,
    /// Which user it is, not only the user's attributes.
    pub(super) user: bool,
    /// `principal.email`.
    pub(super) email: bool,
}

impl Reads {
    const EVERYTHING: Self = Self { time: true, user: true, email: true };

    /// What these policies read.
    pub(super) fn of<'a>(policies: impl Iterator<Item = &'a Policy>) -> Self {
        policies.fold(Self::default(), |all, policy| {
            let one = policy.to_json().map_or(Self::EVERYTHING, |json| Self::default().with(&json));
            Self { time: all.time || one.time, user: all.user || one.user, email: all.email || one.email }
        })
    }

    /// Walks Cedar's JSON form of a policy.
    fn with(mut self, json: &Value) -> Self {
        match json {
            Value::Array(items) => items.iter().fold(self, Self::with),
            Value::Object(object) => {
                if let Some((variable, member)) = member_access(object) {
                    match (variable, member) {
                        ("principal", "idp" | "roles" | "groups" | "assurance")
                        | ("context", "client" | "actors" | "depth" | "grant" | "acr" | "amr")
                        | ("action" | "resource", _) => {}
                        ("principal", "email") => self.email = true,
                        ("context", _) => self.time = true,
                        (_, _) => return Self::EVERYTHING,
                    }
                    return self;
                }
                match object.get("Var").and_then(Value::as_str) {
                    Some("action" | "resource") | None => {}
                    Some("principal") => self.user = true,
                    Some(_) => return Self::EVERYTHING,
                }
                // An entity by its name; its members can be read without the variable.
                if object.get("type").is_some_and(|name| name == "User") && object.contains_key("id") {
                    self.user = true;
                }
                object.values().fold(self, Self::with)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => self,
        }
    }
}

/// `variable.member` or `variable has member`.
fn member_access(object: &Map<String, Value>) -> Option<(&str, &str)> {
    let access = object.get(".").or_else(|| object.get("has"))?.as_object()?;
    let variable = access.get("left")?.as_object()?.get("Var")?.as_str()?;
    Some((variable, access.get("attr")?.as_str()?))
}

/// The memory of one set of policies.
#[derive(Debug, Default)]
pub(super) struct Memo {
    verdicts: RwLock<HashMap<String, Verdict>>,
}

impl Memo {
    /// The verdict, remembered or found now.
    pub(super) fn recall_or(&self, key: Option<String>, find: impl FnOnce() -> Verdict) -> Verdict {
        let Some(key) = key else { return find() };
        if let Some(verdict) = self.verdicts.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return verdict.clone();
        }
        let verdict = find();
        let mut verdicts = self.verdicts.write().unwrap_or_else(PoisonError::into_inner);
        if verdicts.len() >= MOST {
            verdicts.clear();
        }
        verdicts.insert(key, verdict.clone());
        verdict
    }
}

/// Everything of a question that policies which read this much can read; none if that must not be remembered.
///
/// Each part is preceded by its length, so that no two questions have one key.
pub(super) fn key(question: &PolicyQuestion<'_>, scope: &str, reads: Reads) -> Option<String> {
    if reads.time {
        return None;
    }
    let mut key = Key(String::with_capacity(256));
    key.part(scope);
    match question.principal {
        Principal::User { id, idp, attributes } => {
            key.part("user");
            key.part(if reads.user { id.as_str() } else { "" });
            key.part(idp);
            key.parts(&attributes.roles);
            key.parts(&attributes.groups);
            let email = attributes.email.as_deref().filter(|_| reads.email);
            key.parts(email.as_slice());
        }
        Principal::Client(entry) => {
            key.part("client");
            key.part(entry.client.id.as_str());
            key.part(entry.assurance.as_str());
        }
    }
    key.part(question.client.client.id.as_str());
    key.part(question.client.assurance.as_str());
    key.parts(question.actors);
    key.part(grant_name(question.grant));
    key.parts(question.acr.as_slice());
    key.parts(question.amr);
    Some(key.0)
}

struct Key(String);

impl Key {
    fn part(&mut self, text: &str) {
        let _ = write!(self.0, "{}:{text}", text.len());
    }

    fn parts(&mut self, texts: &[impl AsRef<str>]) {
        let _ = write!(self.0, "[{}", texts.len());
        for text in texts {
            self.part(text.as_ref());
        }
    }
}

/// The grant as policies see it.
pub(super) fn grant_name(grant: GrantType) -> &'static str {
    match grant {
        GrantType::TokenExchange => "token_exchange",
        GrantType::ClientCredentials => "client_credentials",
        GrantType::AuthorizationCode => "authorization_code",
        GrantType::RefreshToken => "refresh_token",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(policy: &str) -> Reads {
        Reads::of([Policy::parse(None, policy).unwrap()].iter())
    }

    fn when(condition: &str) -> Reads {
        reads(&format!("permit (principal, action, resource) when {{ {condition} }};"))
    }

    #[test]
    fn attributes_alone_say_nothing_of_the_user_and_the_time() {
        for condition in [
            r#"principal.roles.contains("doctor")"#,
            r#"principal has groups && principal.groups.containsAny(["a", "b"])"#,
            r#"principal.idp == "corp" && context.depth < 2 && context.actors.contains("planner")"#,
            r#"context has acr && context.acr == "mfa" && context.amr.contains("otp")"#,
            r#"resource.access == "read" && resource in Resource::"records""#,
            r#"context.client == Client::"assistant" && context.client.assurance == "vetted""#,
        ] {
            assert_eq!(when(condition), Reads::default(), "{condition}");
        }
    }

    #[test]
    fn the_time_is_seen_wherever_it_is_read() {
        for condition in [
            "context.now > 5",
            "context has auth_time",
            "context has auth_time && context.now - context.auth_time < 300",
            "if true then context.now > 5 else false",
            "[context.now].contains(5)",
            "context == {}",
        ] {
            assert!(when(condition).time, "{condition}");
        }
        assert!(reads("forbid (principal, action, resource) unless { context.now < 5 };").time);
    }

    #[test]
    fn the_user_is_seen_however_named() {
        for condition in [
            r#"principal == User::"corp|alice""#,
            r#"[User::"corp|alice", User::"corp|bob"].contains(principal)"#,
            r#"User::"corp|alice".roles.contains("doctor")"#,
            r#"principal in User::"corp|alice""#,
            r#"{ who: principal }.who == User::"corp|alice""#,
        ] {
            assert!(when(condition).user, "{condition}");
        }
        assert!(reads(r#"permit (principal == User::"corp|alice", action, resource);"#).user);
        assert!(reads(r#"permit (principal in User::"corp|alice", action, resource);"#).user);
        assert!(!reads("permit (principal is User, action, resource);").user);
        assert!(when(r#"principal has email && principal.email like "*@example.com""#).email);
    }

    #[test]
    fn no_two_questions_have_one_key() {
        let key = |parts: &[&[&str]]| {
            let mut key = Key(String::new());
            for texts in parts {
                key.parts(texts);
            }
            key.0
        };
        let all = [
            key(&[&["a", "b"], &[]]),
            key(&[&["a"], &["b"]]),
            key(&[&["ab"], &[]]),
            key(&[&["1:a"], &[]]),
            key(&[&["a1:b"], &[]]),
            key(&[&[], &["a", "b"]]),
            key(&[&["a", "b"]]),
        ];
        let distinct: std::collections::HashSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
