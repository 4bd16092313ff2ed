//! The model: who may do what, in plain sets and lists, after `docs/reference/decisions.md`. It knows nothing of gates,
//! caches or tables.

use super::LIFETIME;
use super::steps::{Backend, Person, Scopes, Secret, Who};
use crate::server::NOW;
use std::collections::{BTreeMap, BTreeSet};

/// What an answer must be.
pub(super) enum Expected {
    /// The client is not believed.
    NotBelieved,
    Refused,
    Granted(Token),
}

#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub(super) ceilings: BTreeMap<Backend, Scopes>,
    pub(super) consent_by_admin: bool,
    pub(super) is_suspended: bool,
    /// Numbers of secrets, oldest first, at most two.
    pub(super) secrets: Vec<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Agreement {
    pub(super) id: String,
    pub(super) of: Option<Person>,
    pub(super) to: Who,
    pub(super) at: Backend,
    pub(super) scopes: Scopes,
    pub(super) granted_at: i64,
    pub(super) expires_at: Option<i64>,
    pub(super) revoked_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Person(Person),
    Client(Who),
}

/// A token as it must be.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) subject: Subject,
    pub(super) client: Who,
    /// Who acts first.
    pub(super) actors: Vec<Who>,
    /// None for this server itself.
    pub(super) at: Option<Backend>,
    pub(super) scopes: BTreeSet<&'static str>,
    pub(super) expires_at: i64,
    /// The consents it rests on, its own one first.
    pub(super) grants: Vec<String>,
}

pub(super) struct Issued {
    pub(super) text: String,
    pub(super) token: Token,
    /// Its key was taken away.
    pub(super) is_void: bool,
}

pub(super) struct Model {
    pub(super) now: i64,
    pub(super) clients: BTreeMap<Who, Declared>,
    pub(super) suspended: BTreeSet<Person>,
    pub(super) agreements: Vec<Agreement>,
    pub(super) edges: BTreeSet<(Backend, Backend)>,
    pub(super) clients_of: BTreeSet<(Backend, Who)>,
    pub(super) doctors_may_use_medical: bool,
    pub(super) writing_is_forbidden: bool,
    pub(super) issued: Vec<Issued>,
}

impl Model {
    pub(super) fn new() -> Self {
        let client = |ceilings: &[(Backend, &[&'static str])], consent_by_admin| Declared {
            ceilings: ceilings.iter().map(|(backend, scopes)| (*backend, scopes.to_vec())).collect(),
            consent_by_admin,
            is_suspended: false,
            secrets: vec![0],
        };
        Self {
            now: NOW,
            clients: BTreeMap::from([
                (
                    Who::Assistant,
                    client(
                        &[(Backend::Records, &["read", "write", "delete"]), (Backend::Models, &["read", "medical"])],
                        false,
                    ),
                ),
                (Who::Stranger, client(&[(Backend::Records, &["read"])], false)),
                (Who::RecordsBackend, client(&[(Backend::Models, &["read", "medical"])], true)),
            ]),
            suspended: BTreeSet::new(),
            agreements: Vec::new(),
            edges: BTreeSet::from([(Backend::Records, Backend::Models)]),
            clients_of: BTreeSet::from([(Backend::Records, Who::RecordsBackend)]),
            doctors_may_use_medical: true,
            writing_is_forbidden: false,
            issued: Vec::new(),
        }
    }

    pub(super) fn is_active(&self, who: Who) -> bool {
        self.clients.get(&who).is_some_and(|client| !client.is_suspended)
    }

    /// The number of the secret; none if the client never had that many.
    pub(super) fn secret(&self, who: Who, secret: Secret) -> Option<usize> {
        let newest = *self.clients.get(&who)?.secrets.last()?;
        newest.checked_sub(match secret {
            Secret::Newest => 0,
            Secret::OneBefore => 1,
            Secret::TwoBefore => 2,
        })
    }

    /// A suspended client is not believed either.
    pub(super) fn authenticates(&self, who: Who, secret: Secret) -> bool {
        let shown = self.secret(who, secret);
        self.clients
            .get(&who)
            .is_some_and(|client| !client.is_suspended && shown.is_some_and(|shown| client.secrets.contains(&shown)))
    }

    /// Refused or granted, if the client is believed.
    pub(super) fn if_believed(&self, by: Who, secret: Secret, decide: impl FnOnce() -> Option<Token>) -> Expected {
        if !self.authenticates(by, secret) {
            return Expected::NotBelieved;
        }
        decide().map_or(Expected::Refused, Expected::Granted)
    }

    /// Asked for, there at all, and within the client's ceiling.
    pub(super) fn within_ceiling(&self, by: Who, at: Backend, asked: &Scopes) -> BTreeSet<&'static str> {
        let ceiling = self.clients[&by].ceilings.get(&at).cloned().unwrap_or_default();
        let asked = if asked.is_empty() { &ceiling } else { asked };
        asked.iter().copied().filter(|scope| at.scopes().contains(scope) && ceiling.contains(scope)).collect()
    }

    pub(super) fn policy_permits(&self, subject: Subject, at: Backend, scope: &str) -> bool {
        let is_doctor = matches!(subject, Subject::Person(person) if person.is_doctor());
        match (at, scope) {
            (Backend::Records, "write") => !self.writing_is_forbidden,
            (Backend::Records, "delete") => is_doctor,
            (Backend::Models, "medical") => is_doctor && self.doctors_may_use_medical,
            _ => true,
        }
    }

    pub(super) fn is_live(&self, agreement: &Agreement) -> bool {
        let counts =
            agreement.of.is_some() || self.clients.get(&agreement.to).is_some_and(|client| client.consent_by_admin);
        counts && agreement.revoked_at.is_none() && agreement.expires_at.is_none_or(|end| self.now < end)
    }

    /// The consent is live, or one that took its place without giving less is.
    pub(super) fn carries_on(&self, id: &str) -> bool {
        let mut line: Vec<&Agreement> = self.agreements.iter().filter(|agreement| agreement.id == id).collect();
        let mut index = 0;
        while let Some(earlier) = line.get(index).copied() {
            let later = self.agreements.iter().filter(|later| {
                (later.of, later.to, later.at) == (earlier.of, earlier.to, earlier.at)
                    && earlier.revoked_at == Some(later.granted_at)
                    && earlier.scopes.iter().all(|scope| later.scopes.contains(scope))
                    && line.iter().all(|seen| seen.id != later.id)
            });
            let later: Vec<&Agreement> = later.collect();
            line.extend(later);
            index += 1;
        }
        line.into_iter().any(|agreement| self.is_live(agreement))
    }

    /// A token for the person with what is left of these scopes.
    pub(super) fn for_person(
        &self,
        person: Person,
        by: Who,
        at: Backend,
        scopes: &BTreeSet<&'static str>,
    ) -> Option<(&Agreement, BTreeSet<&'static str>)> {
        let covered = |agreement: &Agreement| agreement.scopes.iter().filter(|scope| scopes.contains(*scope)).count();
        let agreement = self
            .agreements
            .iter()
            .filter(|agreement| agreement.of.is_none_or(|of| of == person) && (agreement.to, agreement.at) == (by, at))
            .filter(|agreement| self.is_live(agreement) && covered(agreement) > 0)
            .max_by_key(|agreement| (covered(agreement), agreement.of.is_some(), agreement.granted_at))?;
        let scopes: BTreeSet<&'static str> = scopes
            .iter()
            .copied()
            .filter(|scope| agreement.scopes.contains(scope))
            .filter(|scope| self.policy_permits(Subject::Person(person), at, scope))
            .collect();
        (!scopes.is_empty()).then_some((agreement, scopes))
    }

    pub(super) fn exchange(&self, by: Who, person: Person, at: Backend, asked: &Scopes, ends_at: i64) -> Option<Token> {
        if !self.is_active(by) || self.suspended.contains(&person) || !self.clients[&by].ceilings.contains_key(&at) {
            return None;
        }
        let (agreement, scopes) = self.for_person(person, by, at, &self.within_ceiling(by, at, asked))?;
        Some(Token {
            subject: Subject::Person(person),
            client: by,
            actors: vec![by],
            at: Some(at),
            scopes,
            expires_at: ends_at.min(self.now + LIFETIME).min(agreement.expires_at.unwrap_or(i64::MAX)),
            grants: vec![agreement.id.clone()],
        })
    }

    pub(super) fn pass_on(&self, by: Who, issued: &Issued, at: Backend, asked: &Scopes) -> Option<Token> {
        let Issued { token, is_void, .. } = issued;
        // Nobody here may act for a client's own identity.
        let (Subject::Person(person), Some(from)) = (token.subject, token.at) else { return None };
        let mut parties = token.actors.iter().chain([&by, &token.client]);
        let is_good = !is_void
            && self.now < token.expires_at
            && parties.all(|who| self.is_active(*who))
            && !self.suspended.contains(&person)
            && token.grants.iter().all(|grant| self.carries_on(grant));
        let is_holder = token.client == by || token.actors[0] == by;
        let is_theirs = is_holder || self.clients_of.contains(&(from, by));
        let is_reachable = if from == at { is_holder } else { self.edges.contains(&(from, at)) };
        let acted_before = token.actors[0] != by && token.actors.contains(&by);
        if !is_good || !is_theirs || !is_reachable || acted_before || !self.clients[&by].ceilings.contains_key(&at) {
            return None;
        }
        // What both backends know by the same name must be in the token already.
        let mut scopes = self.within_ceiling(by, at, asked);
        scopes.retain(|scope| !from.scopes().contains(scope) || token.scopes.contains(scope));
        if from == at {
            scopes.retain(|scope| token.scopes.contains(scope));
        }
        let (agreement, scopes) = self.for_person(person, by, at, &scopes)?;
        let mut actors = token.actors.clone();
        if actors[0] != by {
            actors.insert(0, by);
        }
        let mut grants = token.grants.clone();
        grants.retain(|grant| *grant != agreement.id);
        grants.insert(0, agreement.id.clone());
        let ends_at = token.expires_at.min(agreement.expires_at.unwrap_or(i64::MAX));
        Some(Token {
            subject: token.subject,
            client: by,
            actors,
            at: Some(at),
            scopes,
            expires_at: ends_at.min(self.now + LIFETIME),
            grants,
        })
    }

    pub(super) fn client_credentials(
        &self,
        by: Who,
        at: Option<Backend>,
        asked: &Scopes,
        own_life: i64,
    ) -> Option<Token> {
        let scopes = match at {
            _ if !self.is_active(by) => return None,
            None => asked.iter().copied().collect(),
            Some(at) => {
                let mut scopes = self.within_ceiling(by, at, asked);
                scopes.retain(|scope| self.policy_permits(Subject::Client(by), at, scope));
                scopes
            }
        };
        // For this server itself there is no scope; for a backend there must be one.
        (scopes.is_empty() == at.is_none()).then(|| Token {
            subject: Subject::Client(by),
            client: by,
            actors: Vec::new(),
            at,
            scopes,
            expires_at: self.now + if at.is_some() { LIFETIME } else { own_life },
            grants: Vec::new(),
        })
    }
}
