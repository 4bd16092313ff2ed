//! How a client is shown to people: by what is certain about it first, and never by more than that.

use crate::domain::client::{Assurance, ClientEntry};
use crate::domain::names::is_unseen;
use crate::domain::redirect_uri;
use crate::domain::registry::Registry;
use url::Url;

/// The longest name that is shown, in characters.
const NAME_CHARACTERS: usize = 50;

/// Signs that read as the end of what is quoted.
const QUOTATION_MARKS: [char; 13] = ['"', '“', '”', '„', '‟', '«', '»', '‹', '›', '＂', '「', '」', '\u{2033}'];

/// A client in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Who {
    /// What it is called in a title: a name that somebody here vouches for, its host, or no name at all.
    pub(super) headline: String,
    /// What it calls itself, where nobody vouches for it. Shown small, quoted and marked.
    pub(super) says: Option<String>,
    /// How it came to be known: `vetted`, `domain` or `self_asserted`.
    pub(super) assurance: &'static str,
    /// The same in a sentence.
    pub(super) trust: String,
    /// Whom it could be taken for by its name.
    pub(super) imitates: Option<String>,
}

impl Who {
    /// The client as people of this organisation should see it.
    pub(super) fn of(entry: &ClientEntry, registry: &Registry, organisation: &str) -> Self {
        let client = &entry.client;
        let imitates =
            registry.imitated_by(client, entry.assurance, organisation).map(|name| shown(name, NAME_CHARACTERS));
        let name = shown(&client.name, NAME_CHARACTERS);
        // What is shown in quotation marks cannot end them.
        let quoted = name.replace(QUOTATION_MARKS, "'");
        let assurance = entry.assurance.as_str();
        match entry.assurance {
            Assurance::Vetted => Self {
                headline: name,
                says: None,
                assurance,
                trust: format!("Approved by the administrator of {organisation}."),
                imitates,
            },
            Assurance::Domain => {
                // As the URL parser writes it: letters that only look like others show as xn--.
                let host = Url::parse(client.id.as_str()).ok().and_then(|url| url.host_str().map(str::to_owned));
                let headline = host.unwrap_or_else(|| "An app without an address".to_owned());
                let trust =
                    format!("Only its web address, {headline}, is certain. Nobody at {organisation} checked it.");
                Self { says: Some(quoted).filter(|name| *name != headline), headline, assurance, trust, imitates }
            }
            Assurance::SelfAsserted => Self {
                headline: "A new app".to_owned(),
                says: Some(quoted),
                assurance,
                trust: "New here: it registered itself, and nobody checked who is behind it.".to_owned(),
                imitates,
            },
        }
    }

    /// In the middle of a sentence.
    pub(super) fn in_text(&self) -> String {
        match &self.says {
            Some(name) if self.assurance == Assurance::SelfAsserted.as_str() => {
                format!("the app that calls itself “{name}”")
            }
            Some(_) | None => self.headline.clone(),
        }
    }
}

/// A text from elsewhere in one short line: without characters that cannot be seen or turn the text around them, and
/// cut where it gets too long.
pub(super) fn shown(text: &str, most: usize) -> String {
    let seen: String =
        text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !is_unseen(*c)).collect();
    let line = seen.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return "(no name)".to_owned();
    }
    if line.chars().count() <= most {
        return line;
    }
    let mut cut: String = line.chars().take(most.saturating_sub(1)).collect();
    cut.truncate(cut.trim_end().len());
    cut.push('…');
    cut
}

/// The longest account that is shown, in characters.
const ACCOUNT_CHARACTERS: usize = 60;

/// An account in one short line. Of a long e-mail address the domain stays: it tells one account of a person from the
/// other.
pub(super) fn shown_account(account: &str) -> String {
    let whole = shown(account, usize::MAX);
    match whole.rsplit_once('@') {
        Some((name, domain)) if whole.chars().count() > ACCOUNT_CHARACTERS && domain.chars().count() < 40 => {
            let room = ACCOUNT_CHARACTERS.saturating_sub(domain.chars().count()).saturating_sub(1);
            format!("{}@{domain}", shown(name, room))
        }
        _ => shown(&whole, ACCOUNT_CHARACTERS),
    }
}

/// A name inside a sentence, so that it cannot turn the words around it: letters of other scripts run the other way.
pub(super) fn isolated(name: &str) -> String {
    format!("\u{2068}{name}\u{2069}")
}

/// Where a browser goes with the code, in words; and whether that is a program on this computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    /// Host, or what kind of program.
    pub(super) text: String,
    /// The part that a user should look at.
    pub(super) place: String,
    /// A loopback address: anything on this computer could wait there.
    pub(super) is_here: bool,
}

impl Destination {
    /// Of a redirect URI.
    pub(super) fn of(uri: &str) -> Self {
        let place = |text: &str, place: String, is_here| Self { text: text.to_owned(), place, is_here };
        let Ok(url) = Url::parse(uri) else {
            return place("an unknown place", String::new(), false);
        };
        let host = || url.host_str().unwrap_or_default().to_owned();
        match url.scheme() {
            "http" | "https" if crate::config::is_loopback(&url) => {
                let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
                place("a program on this computer", format!("{}{port}", host()), true)
            }
            _ if redirect_uri::hands_on(uri) => place("a program on this device, by way of", host(), true),
            "http" | "https" => place("the website", host(), false),
            scheme => place("the program on this device that opens", format!("{}:", shown(scheme, 40)), false),
        }
    }
}

/// True if the client can only ever be a program on the user's own computer, and any other there could pass for it: not if
/// it has a secret from an administrator.
pub(super) fn runs_here(entry: &ClientEntry, redirect_uri: Option<&str>) -> bool {
    if entry.assurance == Assurance::Vetted && entry.client.is_confidential() {
        return false;
    }
    if let Some(uri) = redirect_uri {
        return Destination::of(uri).is_here;
    }
    let uris = &entry.client.redirect_uris;
    !uris.is_empty() && uris.iter().all(|uri| Destination::of(uri).is_here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_elsewhere_is_one_short_line_that_turns_nothing_around() {
        assert_eq!(shown("Pocket  Companion\n", 50), "Pocket Companion");
        assert_eq!(shown("Claude\u{202e}txt.exe\u{200b}", 50), "Claudetxt.exe");
        assert_eq!(shown("\u{202e}\u{200f}", 50), "(no name)");
        let long = shown(&"word ".repeat(1000), 50);
        assert!(long.chars().count() <= 50 && long.ends_with('…'), "{long}");
    }

    #[test]
    fn any_program_could_pass_for_a_client_on_this_computer_unless_it_has_a_secret_from_an_administrator() {
        let entry = |authentication: &str, assurance: Assurance| {
            let client = serde_json::json!({
                "id": "desk", "name": "Desk", "authentication": authentication, "grants": [],
                "redirect_uris": ["http://127.0.0.1/callback"],
            });
            let client = serde_json::from_value(client).unwrap();
            ClientEntry { client, assurance, suspended_at: None, other_authentication: Vec::new() }
        };
        let runs_here = |entry: &ClientEntry| runs_here(entry, None);
        assert!(runs_here(&entry("none", Assurance::Vetted)));
        assert!(!runs_here(&entry("client_secret_basic", Assurance::Vetted)));
        assert!(
            runs_here(&entry("client_secret_basic", Assurance::SelfAsserted)),
            "anybody gets a secret by registering"
        );
    }

    #[test]
    fn of_a_long_account_the_domain_stays() {
        assert_eq!(shown_account("alice@example.com"), "alice@example.com");
        let long = format!("{}@clinic.example.com", "name.".repeat(30));
        let seen = shown_account(&long);
        assert!(seen.chars().count() <= 60 && seen.ends_with("…@clinic.example.com"), "{seen}");
        assert_eq!(shown_account(&"x".repeat(100)).chars().count(), 60);
    }

    #[test]
    fn a_destination_says_what_kind_of_place_it_is() {
        let of = |uri| {
            let Destination { text, place, is_here } = Destination::of(uri);
            (text, place, is_here)
        };
        let expected = |text: &str, place: &str, is_here| (text.to_owned(), place.to_owned(), is_here);
        assert_eq!(of("https://claude.ai/api/callback"), expected("the website", "claude.ai", false));
        let by_way = expected("a program on this device, by way of", "vscode.dev", true);
        assert_eq!(of("https://vscode.dev/redirect"), by_way);
        assert_eq!(of("http://localhost:3334/x"), expected("a program on this computer", "localhost:3334", true));
        assert_eq!(of("http://[::1]:1/"), expected("a program on this computer", "[::1]:1", true));
        let cursor = expected("the program on this device that opens", "cursor:", false);
        assert_eq!(of("cursor://anysphere.cursor-mcp/oauth/callback"), cursor);
        assert_eq!(of("https://cl\u{430}ude.ai/").1, "xn--clude-5ve.ai", "a Cyrillic letter");
    }
}
