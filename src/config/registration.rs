//! `[registration]`: which clients may come that no administrator registered.

use super::ConfigProblem;
use super::settings::Settings;
use crate::domain::redirect_uri::{self, RedirectKind};
use secrecy::SecretString;
use url::{Host, Url};

/// Cursor's, which it registers together with others.
const PRIVATE_USE_REDIRECT_URIS: &[&str] = &["cursor://anysphere.cursor-mcp/oauth/callback"];
/// So that it cannot be guessed.
const TOKEN_CHARACTERS: usize = 20;

/// Who may register clients at `/register` (RFC 7591).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynamicRegistration {
    /// Anybody.
    On,
    /// Nobody. Clients that are registered stay.
    Off,
    /// Whoever has the initial access token.
    Token,
}

/// `[registration]`.
#[derive(Debug, Clone)]
pub struct RegistrationSettings {
    /// Who may register clients; anybody.
    pub dynamic: DynamicRegistration,
    /// The initial access token (RFC 7591 §3), if `dynamic` asks for one.
    pub initial_access_token: Option<SecretString>,
    /// True if clients may be known by a document under their own domain; true.
    pub metadata_documents: bool,
    /// Whose documents are read: URLs to the letter, or hosts. Empty: anybody's.
    pub allow: Vec<String>,
    /// Whose are not, and to whose hosts no code is sent; it wins.
    pub deny: Vec<String>,
    /// Redirect URIs with a scheme of their own that clients may register, to the letter.
    pub private_use_redirect_uris: Vec<String>,
    /// Registrations, and documents read for the first time, for one address in a minute; 20. 0: without limit.
    pub per_minute: u32,
    /// A client that was never used is removed after so many hours; 24.
    pub unused_hours: u32,
    /// A client without consents is removed after so many days without use; 90.
    pub idle_days: u32,
}

impl RegistrationSettings {
    /// True if a document at this URL may be read, and what it says may count.
    pub fn lets_in(&self, url: &Url) -> bool {
        (self.allow.is_empty() || names(&self.allow, url)) && !names(&self.deny, url)
    }

    /// True if a code may be sent there: not if the host is denied.
    pub fn lets_codes_go_to(&self, redirect_uri: &str) -> bool {
        Url::parse(redirect_uri).is_ok_and(|url| !names(&self.deny, &url))
    }

    /// Unix seconds: who was registered before and never used is dead.
    pub fn unused_since(&self, now: i64) -> i64 {
        now.saturating_sub(i64::from(self.unused_hours).saturating_mul(3600))
    }

    /// Unix seconds: who was not used since is dead.
    pub fn idle_since(&self, now: i64) -> i64 {
        now.saturating_sub(i64::from(self.idle_days).saturating_mul(86_400))
    }
}

/// A host stands for itself alone, not for those below it.
fn names(list: &[String], url: &Url) -> bool {
    list.iter().any(|one| url.host_str() == Some(one) || url.as_str() == one)
}

pub(super) fn of(settings: &Settings) -> Result<RegistrationSettings, ConfigProblem> {
    let choices =
        [("on", DynamicRegistration::On), ("off", DynamicRegistration::Off), ("token", DynamicRegistration::Token)];
    let dynamic = settings.choice("registration.dynamic", &choices)?;
    let private_use = settings.texts("registration.private_use_redirect_uris", PRIVATE_USE_REDIRECT_URIS)?;
    for uri in &private_use {
        let problem = match redirect_uri::check(uri) {
            Ok(RedirectKind::PrivateUse) => continue,
            Ok(RedirectKind::Https | RedirectKind::Loopback) => "needs no permission: leave it out",
            Err(problem) => problem,
        };
        return Err(settings.problem("registration.private_use_redirect_uris", format!("has {uri:?}, which {problem}")));
    }
    Ok(RegistrationSettings {
        dynamic,
        initial_access_token: initial_access_token(settings, dynamic)?,
        metadata_documents: settings.choice("registration.metadata_documents", &[("on", true), ("off", false)])?,
        allow: clients(settings, "registration.allow")?,
        deny: clients(settings, "registration.deny")?,
        private_use_redirect_uris: private_use,
        per_minute: settings.number("registration.per_minute", 20, 0..=1_000_000)?,
        unused_hours: settings.number("registration.unused_hours", 24, 1..=87_600)?,
        idle_days: settings.number("registration.idle_days", 90, 1..=3650)?,
    })
}

fn initial_access_token(
    settings: &Settings,
    dynamic: DynamicRegistration,
) -> Result<Option<SecretString>, ConfigProblem> {
    const KEY: &str = "registration.initial_access_token";
    let token = settings.text(KEY)?;
    let problem = match (dynamic, &token) {
        (DynamicRegistration::Token, None) => {
            "is required with registration.dynamic = \"token\"; `openssl rand -base64 32` makes one"
        }
        (DynamicRegistration::On | DynamicRegistration::Off, Some(_)) => {
            "is asked for only with registration.dynamic = \"token\": set that too, or leave this out"
        }
        (_, Some(token)) if token.len() < TOKEN_CHARACTERS || !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            "must be 20 or more visible ASCII characters; `openssl rand -base64 32` makes one"
        }
        (_, Some(_) | None) => return Ok(token.map(SecretString::from)),
    };
    Err(settings.problem(KEY, problem))
}

/// Hosts, and URLs of documents, each in the one spelling in which it is compared.
fn clients(settings: &Settings, key: &str) -> Result<Vec<String>, ConfigProblem> {
    let list = settings.texts(key, &[])?;
    for one in &list {
        let is_url = Url::parse(one).is_ok_and(|url| url.scheme() == "https" && url.as_str() == one);
        let is_host = !one.contains(['/', '*']) && Host::parse(one).is_ok_and(|host| host.to_string() == *one);
        if !is_url && !is_host {
            let wanted = "hosts such as \"claude.ai\", or https URLs of metadata documents to the letter";
            return Err(settings.problem(key, format!("must be {wanted}, and has {one:?}")));
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_let_in_by_its_host_or_its_url_and_deny_wins() {
        let lets_in = |allow: &[&str], deny: &[&str], url: &str| {
            let owned = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
            let settings = RegistrationSettings {
                dynamic: DynamicRegistration::On,
                initial_access_token: None,
                metadata_documents: true,
                allow: owned(allow),
                deny: owned(deny),
                private_use_redirect_uris: Vec::new(),
                per_minute: 0,
                unused_hours: 1,
                idle_days: 1,
            };
            settings.lets_in(&Url::parse(url).unwrap())
        };
        let url = "https://claude.ai/oauth/client";
        assert!(lets_in(&[], &[], url));
        assert!(lets_in(&["claude.ai"], &[], url));
        assert!(lets_in(&[url], &[], url));
        assert!(!lets_in(&["claude.ai"], &["claude.ai"], url));
        assert!(!lets_in(&[], &[url], url));
        assert!(!lets_in(&["claude.com"], &[], url));
        for other in
            ["https://evil.claude.ai/oauth/client", "https://claude.ai.evil.example/", "https://claude.ai/other"]
        {
            assert!(!lets_in(&[url], &[], other), "{other}");
        }
        assert!(!lets_in(&["claude.ai"], &[], "https://evil.claude.ai/x"));
    }
}
