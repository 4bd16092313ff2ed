//! What a token rests on, and whether it still counts (draft-ietf-oauth-status-list).

use super::names::{ClientId, IdpId, ResourceId, UserId};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

/// How many entries a status list has.
pub const ENTRIES_PER_LIST: i64 = 65_536;

/// New tokens are given an entry for so long after it was made, in seconds; then there is a new one, so that ended entries
/// can be forgotten.
pub const ENTRY_ISSUES_SECONDS: i64 = 3600;

/// The end of days, Unix seconds: 9999-12-31.
const FOR_EVER: i64 = 253_402_300_799;
/// So much later every server has heard of an end, in seconds.
const HEARD_AFTER_SECONDS: i64 = 2;

/// How a token stands; the numbers are those of a status list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenStatus {
    /// It counts until it expires.
    Valid = 0,
    /// It does not count now, and may again: a client or user is suspended, or a user paused the client.
    Suspended = 2,
    /// It has ended.
    Invalid = 1,
}

impl TokenStatus {
    /// Of two reasons the one that is for good.
    #[must_use]
    pub fn or_worse(self, other: Self) -> Self {
        let worst = |status| self == status || other == status;
        if worst(Self::Invalid) {
            Self::Invalid
        } else if worst(Self::Suspended) {
            Self::Suspended
        } else {
            Self::Valid
        }
    }
}

/// One thing that a token rests on: when it ends, so does the token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Support {
    /// The user.
    User(UserId),
    /// A client that acts: the one that got the token, or an earlier one.
    Client(ClientId),
    /// The backend.
    Resource(ResourceId),
    /// A consent.
    Consent(String),
    /// What came of a sign-in here.
    Family(String),
    /// The provider that vouched for the user.
    Provider(IdpId),
    /// A session at a provider, by the id that tokens have of it: see [`session_id`].
    Session(String),
    /// The user at a provider: all of their sessions there.
    Login(IdpId, String),
    /// The user at a provider, in a session that was not named: each that ends may be the one.
    UnnamedSession(IdpId, String),
    /// A token and all that came of it: `txn`, and the actors from its own on, the earliest last.
    Branch(String, Vec<String>),
    /// The status entry of a token that this one came of, or its own.
    Entry(i64),
}

impl Support {
    /// The name of its kind in the database.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Client(_) => "client",
            Self::Resource(_) => "resource",
            Self::Consent(_) => "consent",
            Self::Family(_) => "family",
            Self::Provider(_) => "provider",
            Self::Session(..) => "session",
            Self::Login(..) => "login",
            Self::UnnamedSession(..) => "unnamed_session",
            Self::Branch(..) => "branch",
            Self::Entry(_) => "entry",
        }
    }

    /// Which one, as a short text: what others made up is a digest.
    pub fn value(&self) -> Cow<'_, str> {
        match self {
            Self::User(id) => id.as_str().into(),
            Self::Client(id) => id.as_str().into(),
            Self::Resource(id) => id.as_str().into(),
            Self::Consent(id) | Self::Family(id) | Self::Session(id) => id.as_str().into(),
            Self::Provider(id) => id.as_str().into(),
            Self::Login(idp, text) | Self::UnnamedSession(idp, text) => digest(&[idp.as_str(), text]).into(),
            Self::Branch(txn, actors) => {
                let parts: Vec<&str> = std::iter::once(txn).chain(actors).map(String::as_str).collect();
                digest(&parts).into()
            }
            Self::Entry(index) => index.to_string().into(),
        }
    }

    /// What happened to a token if it ends, for people.
    pub fn end_in_words(&self) -> String {
        match self {
            Self::Branch(..) => "it, or a token that it came of, was revoked".to_owned(),
            Self::User(id) => format!("all tokens of user {id} were revoked"),
            Self::Client(id) => format!("all tokens of client {id} were revoked"),
            Self::Resource(id) => format!("all tokens for backend {id} were revoked"),
            Self::Provider(id) => format!("identity provider {id} was removed"),
            Self::Session(_) | Self::Login(..) | Self::UnnamedSession(..) => {
                "the session at the identity provider that it came of has ended".to_owned()
            }
            Self::Consent(_) | Self::Family(_) | Self::Entry(_) => "what it rests on was revoked".to_owned(),
        }
    }

    /// Tokens that rest on it and were asked for until then have ended, if it ends at `now`; Unix seconds.
    pub fn ends_until(&self, now: i64) -> i64 {
        match self {
            // Never there again: whenever a token was asked for, it is one of before.
            Self::Session(_) | Self::Entry(_) => FOR_EVER,
            // By the subject token a server knows what is of a new sign-in; one that had not heard of the end did not ask.
            Self::Login(..) | Self::UnnamedSession(..) => now.saturating_add(HEARD_AFTER_SECONDS),
            Self::User(_)
            | Self::Client(_)
            | Self::Resource(_)
            | Self::Consent(_)
            | Self::Family(_)
            | Self::Provider(_)
            | Self::Branch(..) => now,
        }
    }
}

/// What begins the id of a session at a provider in `sid` of our tokens.
const SESSION_ID_STARTS: &str = "ses_";
/// How many hexadecimal digits follow: 128 bits.
const SESSION_ID_DIGITS: usize = 32;

/// The id that our tokens have of a session at a provider: always the same, and it does not tell the provider's.
pub fn session_id(idp: &IdpId, idp_session: &str) -> String {
    let digest = digest(&[idp.as_str(), idp_session]);
    format!("{SESSION_ID_STARTS}{}", digest.get(..SESSION_ID_DIGITS).unwrap_or(&digest))
}

/// True if the `sid` of a token of ours is that of a session at a provider, and not a grant family.
pub fn is_session_id(sid: &str) -> bool {
    sid.starts_with(SESSION_ID_STARTS)
}

/// What a user's token rests on for the sign-in that it came of, by its `sid`. `user`: the provider, and the `sub` there, as
/// far as they are known.
pub fn sign_in_supports(sid: Option<&str>, user: Option<(&IdpId, &str)>) -> Vec<Support> {
    let mut supports: Vec<Support> = user.map(|(idp, _)| Support::Provider(idp.clone())).into_iter().collect();
    let login = user.map(|(idp, sub)| Support::Login(idp.clone(), sub.to_owned()));
    match sid {
        Some(sid) if is_session_id(sid) => {
            supports.push(Support::Session(sid.to_owned()));
            supports.extend(login);
        }
        // A grant family stands for the sign-in.
        Some(family) => supports.push(Support::Family(family.to_owned())),
        None => {
            supports.extend(login);
            supports.extend(user.map(|(idp, sub)| Support::UnnamedSession(idp.clone(), sub.to_owned())));
        }
    }
    supports
}

/// A token and every token that it came of, each as the root of its own branch. `actors`: the current one first.
pub fn branches(txn: &str, actors: &[String]) -> impl Iterator<Item = Support> {
    (0..=actors.len()).map(move |from| Support::Branch(txn.to_owned(), actors.get(from..).unwrap_or_default().to_vec()))
}

/// No two lists of parts have the same text: each part is counted.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// One entry of a status list: all tokens that rest on the same things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusEntry {
    /// Its number among all entries.
    pub index: i64,
    /// What they rest on, and the entry itself.
    pub supports: Vec<Support>,
    /// The entry of the token that they came of, whose supports are theirs too.
    pub parent: Option<i64>,
    /// When the first was asked for, Unix seconds.
    pub made_at: i64,
    /// When the last of them has ended, Unix seconds.
    pub ends_at: i64,
}

/// Where in which list an entry is: list and place.
pub fn place_of(index: i64) -> (i64, i64) {
    (index.div_euclid(ENTRIES_PER_LIST), index.rem_euclid(ENTRIES_PER_LIST))
}

/// The `uri` of a list: `<issuer>/status/<number>`.
pub fn list_uri(issuer: &str, list: i64) -> String {
    format!("{issuer}/status/{list}")
}

/// The entry that a `status` claim of ours means; none if it means none of this issuer's.
pub fn index_of(issuer: &str, uri: &str, place: i64) -> Option<i64> {
    let list: i64 = uri.strip_prefix(issuer)?.strip_prefix("/status/")?.parse().ok()?;
    let is_one = list >= 0 && list_uri(issuer, list) == uri && (0..ENTRIES_PER_LIST).contains(&place);
    is_one.then(|| list.saturating_mul(ENTRIES_PER_LIST).saturating_add(place))
}

/// One thing that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The kind of the support.
    pub kind: String,
    /// Its value.
    pub value: String,
    /// What rests on it and was asked for until then has ended, Unix seconds.
    pub until: i64,
    /// From then on nothing of it can live that was asked for before, Unix seconds.
    pub forget_at: i64,
}

/// What ended lately, by the kind and value of a support; the latest end of each, and when it may be forgotten.
#[derive(Debug, Default)]
pub struct Revocations(HashMap<(String, String), (i64, i64)>);

impl Revocations {
    /// Takes in what ended.
    pub fn add(&mut self, ended: impl IntoIterator<Item = Revocation>) {
        for Revocation { kind, value, until, forget_at } in ended {
            let latest = self.0.entry((kind, value)).or_insert((until, forget_at));
            *latest = (until.max(latest.0), forget_at.max(latest.1));
        }
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets what no living token can rest on.
    pub fn forget(&mut self, now: i64) {
        self.0.retain(|_, (_, forget_at)| *forget_at > now);
    }

    /// The first of these supports that ended when a token that was asked for at `made_at` was there already.
    pub fn ended<'a>(&self, supports: &'a [Support], made_at: i64) -> Option<&'a Support> {
        if self.0.is_empty() {
            return None;
        }
        supports.iter().find(|support| {
            let key = (support.kind().to_owned(), support.value().into_owned());
            self.0.get(&key).is_some_and(|(until, _)| *until >= made_at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_claim_means_one_entry_of_this_issuer() {
        let issuer = "https://auth.example.com";
        for index in [0, 1, 65_535, 65_536, 1_000_000] {
            let (list, place) = place_of(index);
            assert_eq!(index_of(issuer, &list_uri(issuer, list), place), Some(index));
        }
        for (uri, place) in [
            ("https://auth.example.com/status/0", 65_536),
            ("https://auth.example.com/status/0", -1),
            ("https://auth.example.com/status/00", 1),
            ("https://auth.example.com/status/+1", 1),
            ("https://auth.example.com/status/-1", 1),
            ("https://auth.example.com.evil.example/status/0", 1),
            ("https://elsewhere.example/status/0", 1),
        ] {
            assert_eq!(index_of(issuer, uri, place), None, "{uri} {place}");
        }
    }

    #[test]
    fn what_was_asked_for_after_the_end_of_a_thing_goes_on() {
        let user = Support::User("alice".parse().unwrap());
        let (kind, value) = (user.kind().to_owned(), user.value().into_owned());
        let ended = |until| Revocation { kind: kind.clone(), value: value.clone(), until, forget_at: until + 10 };
        let mut revocations = Revocations::default();
        revocations.add([ended(100), ended(90)]);
        let supports = [Support::Client("assistant".parse().unwrap()), user];
        assert_eq!(revocations.ended(&supports, 99), Some(&supports[1]));
        assert_eq!(revocations.ended(&supports, 100), Some(&supports[1]), "of the same second");
        assert_eq!(revocations.ended(&supports, 101), None);
        assert_eq!(revocations.ended(&supports[..1], 1), None);
        revocations.forget(109);
        assert!(revocations.ended(&supports, 99).is_some());
        revocations.forget(110);
        assert_eq!(revocations.ended(&supports, 99), None);
    }

    #[test]
    fn what_is_never_there_again_ends_whatever_came_later() {
        let idp = || "corp".parse::<IdpId>().unwrap();
        assert!(Support::Session("ses_1".to_owned()).ends_until(100) > 1_000_000_000_000 / 10);
        assert!(Support::Entry(1).ends_until(100) > 1_000_000_000_000 / 10);
        assert_eq!(Support::Login(idp(), "alice".to_owned()).ends_until(100), 102, "a server that had not heard of it");
        assert_eq!(Support::UnnamedSession(idp(), "alice".to_owned()).ends_until(100), 102);
        assert_eq!(Support::User("alice".parse().unwrap()).ends_until(100), 100);
    }

    #[test]
    fn by_its_sid_a_token_rests_on_a_family_or_a_session_and_without_on_each_of_the_user() {
        let idp: IdpId = "corp".parse().unwrap();
        let alice = Some((&idp, "alice"));
        let login = Support::Login(idp.clone(), "alice".to_owned());
        let session = session_id(&idp, "s-1");
        assert!(is_session_id(&session) && session.len() == 36);
        let (corp, by_session) = (Support::Provider(idp.clone()), Support::Session(session.clone()));
        let family = Support::Family("fam_1".to_owned());
        assert_eq!(sign_in_supports(Some("fam_1"), alice), [corp.clone(), family]);
        assert_eq!(sign_in_supports(Some(&session), alice), [corp.clone(), by_session.clone(), login.clone()]);
        assert_eq!(sign_in_supports(Some(&session), None), [by_session], "a session needs no provider to be known");
        let unnamed = Support::UnnamedSession(idp.clone(), "alice".to_owned());
        assert_eq!(sign_in_supports(None, alice), [corp, login, unnamed]);
        assert_eq!(sign_in_supports(None, None), []);
    }

    #[test]
    fn no_two_supports_have_the_same_value_by_where_their_parts_end() {
        let idp = |text: &str| text.parse::<IdpId>().unwrap();
        assert_ne!(session_id(&idp("a"), "bc"), session_id(&idp("ab"), "c"));
        assert_ne!(
            Support::Login(idp("a"), "bc".to_owned()).value(),
            Support::Login(idp("ab"), "c".to_owned()).value()
        );
        let branch = |txn: &str, actors: &[&str]| {
            Support::Branch(txn.to_owned(), actors.iter().map(|&actor| actor.to_owned()).collect())
        };
        assert_ne!(branch("t", &["a", "b"]).value(), branch("t", &["ab"]).value());
        assert_ne!(branch("t", &["a"]).value(), branch("ta", &[]).value());
    }

    #[test]
    fn of_two_reasons_the_one_for_good_counts() {
        use TokenStatus::{Invalid, Suspended, Valid};
        for (one, other, both) in [
            (Valid, Valid, Valid),
            (Valid, Suspended, Suspended),
            (Suspended, Invalid, Invalid),
            (Invalid, Valid, Invalid),
        ] {
            assert_eq!((one.or_worse(other), other.or_worse(one)), (both, both));
        }
    }
}
