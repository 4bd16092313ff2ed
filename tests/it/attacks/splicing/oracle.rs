//! What must come of each combination, said a second time: a table of who may what, and the rules in the order in which
//! they decide. It shares nothing with the product but the words of the answers.

use std::collections::BTreeSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    Assistant,
    Agent,
    Backend,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    Alice,
    Bob,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Records,
    Models,
    Billing,
}

/// The application that an ID token was issued to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum App {
    One,
    Two,
}

use App::{One, Two};
use Client::{Agent, Assistant, Backend};
use Place::{Billing, Models, Records};
use User::{Alice, Bob};

pub(super) const CLIENTS: [Client; 3] = [Assistant, Agent, Backend];
const PLACES: [Place; 3] = [Records, Models, Billing];

/// Whom a token is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    User(User),
    Workload(Client),
}

/// A subject token, by what it says.
#[derive(Debug, Clone)]
pub(super) enum Held {
    /// An ID token of the provider.
    External { user: User, app: App },
    /// A token of ours. Without a place it is a client's own token for this server.
    Own { subject: Subject, client: Client, actors: Vec<Client>, place: Option<Place>, scopes: Vec<&'static str> },
}

/// What is sent as `actor_token`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ActorToken {
    None,
    OwnOf(Client),
    Delegation,
    IdToken,
    TheSubjectToken,
}

pub(super) const ACTOR_TOKENS: [ActorToken; 7] = [
    ActorToken::None,
    ActorToken::OwnOf(Assistant),
    ActorToken::OwnOf(Agent),
    ActorToken::OwnOf(Backend),
    ActorToken::Delegation,
    ActorToken::IdToken,
    ActorToken::TheSubjectToken,
];

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) caller: Client,
    pub(super) held: Held,
    pub(super) actor: ActorToken,
    pub(super) target: Option<Place>,
    /// It was sent before, exactly so.
    pub(super) again: bool,
}

/// The only token that may come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) subject: Subject,
    pub(super) client: Client,
    /// The current actor first.
    pub(super) actors: Vec<Client>,
    pub(super) place: Place,
    pub(super) scopes: BTreeSet<&'static str>,
}

// Who may what: the registry, in other words.

fn ceiling(client: Client, place: Place) -> &'static [&'static str] {
    match (client, place) {
        (Assistant, Records) => &["read", "write"],
        (Agent, Records) => &["write"],
        (Assistant | Backend, Models) => &["read", "use"],
        (Agent, Models) => &["tune"],
        (Agent | Backend, Billing) => &["pay"],
        (Assistant, Billing) | (Backend, Records) => &[],
    }
}

fn scopes_of(place: Place) -> &'static [&'static str] {
    match place {
        Records => &["read", "write"],
        Models => &["read", "use", "tune"],
        Billing => &["pay"],
    }
}

fn agreed(user: User, client: Client, place: Place) -> &'static [&'static str] {
    match (user, client, place) {
        (Alice, Assistant, Records) => &["read", "write"],
        (Bob, Assistant, Records) => &["read"],
        (Alice, Agent, Records) => &["write"],
        (Alice, Agent, Billing) => &["pay"],
        (Alice, Assistant, Models) => &["read", "use"],
        // The administrator agreed for everyone.
        (_, Backend, place) => ceiling(Backend, place),
        (Alice, Assistant, Billing) | (Bob, Assistant | Agent, _) | (Alice, Agent, Models) => &[],
    }
}

fn owner(place: Place) -> Option<Client> {
    match place {
        Records => Some(Backend),
        Models => Some(Agent),
        Billing => None,
    }
}

fn edge(from: Place, to: Place) -> bool {
    matches!((from, to), (Records, Models) | (Models, Billing))
}

/// The rules, in order: the token that may come of it, or the reason of the refusal.
pub(super) fn predict(asked: &Asked) -> Result<Granted, &'static str> {
    let caller = asked.caller;
    let (subject, earlier) = match &asked.held {
        // TX-33: an ID token is presented by the clients of the application that it was issued to.
        Held::External { user, app: One } if caller == Assistant => (Subject::User(*user), vec![]),
        Held::External { user, app: Two } if caller != Backend => (Subject::User(*user), vec![]),
        Held::External { .. } => return Err("subject_token_audience_foreign"),
        // TX-39: a client's own token is a subject only for those who may act for it: the assistant, for the backend.
        Held::Own { subject: Subject::Workload(who), .. } if (caller, *who) != (Assistant, Backend) => {
            return Err("workload_not_permitted");
        }
        Held::Own { subject, actors, .. } => (*subject, actors.clone()),
    };
    // TX-35: a token of ours is presented by who holds it, or by a client of the backend that it is for.
    let addressed = match &asked.held {
        Held::External { .. } | Held::Own { place: None, .. } => true,
        Held::Own { place: Some(place), .. } => holds(caller, &asked.held) || owner(*place) == Some(caller),
    };
    if !addressed {
        return Err("subject_token_not_addressed");
    }
    // TX-36 to TX-39: the actor is the caller, or the agent if the assistant presents the agent's own token.
    let actor = match asked.actor {
        ActorToken::None => caller,
        ActorToken::TheSubjectToken => return Err("actor_token_is_subject_token"),
        ActorToken::IdToken => return Err("actor_token_invalid"),
        ActorToken::Delegation => return Err("actor_token_delegated"),
        ActorToken::OwnOf(client) if client == caller || (caller, client) == (Assistant, Agent) => client,
        ActorToken::OwnOf(_) => return Err("actor_not_permitted"),
    };
    // TX-71 to TX-74: the actor comes in front; whoever acts already stays there; whoever acted before can't again.
    let actors = match earlier.iter().position(|earlier| *earlier == actor) {
        Some(0) => earlier,
        Some(_) => return Err("chain_cycle"),
        None => [vec![actor], earlier].concat(),
    };
    // TX-80 and TX-08: the target is named, or the only one that can be meant.
    let place = if let Some(place) = asked.target {
        reach(asked, subject, actor, place).map(|()| place)?
    } else {
        let can = |place: &Place| !ceiling(caller, *place).is_empty() && reach(asked, subject, actor, *place).is_ok();
        let mut candidates = PLACES.into_iter().filter(can);
        match (candidates.next(), candidates.next()) {
            (Some(only), None) => only,
            (_, _) => return Err("target_missing"),
        }
    };
    // TX-79: never more than each of those who take part has.
    let within: BTreeSet<_> =
        ceiling(caller, place).iter().copied().filter(|scope| ceiling(actor, place).contains(scope)).collect();
    let mut scopes = within.clone();
    scopes.retain(|scope| subject_has(&asked.held, subject, place, scope));
    if scopes.is_empty() {
        return Err(if within.is_empty() { "scope_beyond_client" } else { "scope_beyond_subject" });
    }
    // Consent: of this user, for this caller, there.
    if let Subject::User(user) = subject {
        scopes.retain(|scope| agreed(user, caller, place).contains(scope));
        if scopes.is_empty() {
            return Err("consent_missing");
        }
    }
    // TX-42: an ID token of app two counts once for a client.
    if asked.again && matches!(asked.held, Held::External { app: Two, .. }) {
        return Err("subject_token_replayed");
    }
    Ok(Granted { subject, client: caller, actors, place, scopes })
}

/// The client that got the token, or acts by it.
fn holds(client: Client, held: &Held) -> bool {
    match held {
        Held::External { .. } => false,
        Held::Own { client: got, actors, .. } => *got == client || actors.first() == Some(&client),
    }
}

/// TX-80: the target is in the ceiling of everybody who takes part, and an edge leads there from where the token is
/// good; or it stays where it is, with its holder.
fn reach(asked: &Asked, subject: Subject, actor: Client, place: Place) -> Result<(), &'static str> {
    let workload = match subject {
        Subject::Workload(client) => client,
        Subject::User(_) => actor,
    };
    if [asked.caller, actor, workload].into_iter().any(|client| ceiling(client, place).is_empty()) {
        return Err("target_not_allowed");
    }
    match &asked.held {
        Held::External { .. } | Held::Own { place: None, .. } => Ok(()),
        Held::Own { place: Some(from), .. } if edge(*from, place) => Ok(()),
        Held::Own { place: Some(from), .. } if *from == place && holds(asked.caller, &asked.held) => Ok(()),
        Held::Own { .. } => Err("target_not_reachable"),
    }
}

/// TX-79: a scope whose name the token's backend knows must be in the token; a workload has its own ceiling.
fn subject_has(held: &Held, subject: Subject, place: Place, scope: &str) -> bool {
    let by_workload = match subject {
        Subject::Workload(client) => ceiling(client, place).contains(&scope),
        Subject::User(_) => true,
    };
    let by_token = match held {
        Held::External { .. } | Held::Own { place: None, .. } => true,
        Held::Own { place: Some(from), scopes, .. } => !scopes_of(*from).contains(&scope) || scopes.contains(&scope),
    };
    by_workload && by_token
}
