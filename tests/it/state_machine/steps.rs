//! The words of the sequences: who, whom, where, and what can happen; and how sequences are made.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

pub(super) type Scopes = Vec<&'static str>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Assistant,
    Stranger,
    RecordsBackend,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Person {
    /// A doctor.
    Alice,
    /// Has no role.
    Bob,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Backend {
    /// `read`, `write`, and `delete` for doctors.
    Records,
    /// `read`, and `medical`, which only a policy can permit.
    Models,
}

/// Which secret a client shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secret {
    Newest,
    OneBefore,
    TwoBefore,
}

/// One step: a request, or a change.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Ask(Request),
    Do(Deed),
}

#[derive(Debug, Clone)]
pub(super) enum Request {
    /// The client exchanges an ID token of the person that lives so many seconds.
    Exchange { by: Who, secret: Secret, person: Person, at: Backend, scopes: Scopes, id_token_lives: i64 },
    /// The client exchanges a token that was issued here; 0 is the newest.
    PassOn { by: Who, token: usize, at: Backend, scopes: Scopes },
    /// The client asks for a token of its own.
    ClientCredentials { by: Who, secret: Secret, at: Option<Backend>, scopes: Scopes },
}

#[derive(Debug, Clone)]
pub(super) enum Deed {
    SuspendClient(Who),
    ResumeClient(Who),
    RemoveClient(Who),
    /// The client as it is declared from now on; no list means that the backend is not in its ceiling.
    DeclareClient {
        who: Who,
        records: Option<Scopes>,
        models: Option<Scopes>,
        consent_by_admin: bool,
    },
    RotateSecret(Who),
    /// Rotates twice, as whoever fears that a secret has leaked: none of the earlier ones is left.
    ReplaceSecrets(Who),
    SuspendUser(Person),
    ResumeUser(Person),
    /// A consent of the person, or of nobody in particular: for everyone.
    Consent {
        of: Option<Person>,
        to: Who,
        at: Backend,
        scopes: Scopes,
        lives: Option<i64>,
    },
    /// 0 is the newest.
    RevokeConsent(usize),
    Edge {
        from: Backend,
        to: Backend,
        is_there: bool,
    },
    ClientOfBackend {
        who: Who,
        of: Backend,
        is_one: bool,
    },
    PermitMedicalToDoctors(bool),
    ForbidWriting(bool),
    RotateKeys {
        emergency: bool,
    },
    Wait(i64),
}

impl Who {
    pub(super) const ALL: [Self; 3] = [Self::Assistant, Self::Stranger, Self::RecordsBackend];

    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::Stranger => "stranger",
            Self::RecordsBackend => "records-backend",
        }
    }
}

impl Person {
    pub(super) fn sub(self) -> &'static str {
        match self {
            Self::Alice => "alice",
            Self::Bob => "bob",
        }
    }

    pub(super) fn user_id(self) -> String {
        format!("corp|{}", self.sub())
    }

    pub(super) fn is_doctor(self) -> bool {
        self == Self::Alice
    }
}

impl Backend {
    pub(super) const ALL: [Self; 2] = [Self::Records, Self::Models];

    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Models => "models",
        }
    }

    pub(super) fn audience(self) -> String {
        format!("https://{}.example.com", self.id())
    }

    pub(super) fn scopes(self) -> Scopes {
        match self {
            Self::Records => vec!["read", "write", "delete"],
            Self::Models => vec!["read", "medical"],
        }
    }
}

/// Printed one step a line.
#[derive(Clone)]
pub(super) struct Steps(pub(super) Vec<Step>);

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            let number = index + 1;
            match step {
                Step::Ask(request) => write!(f, "\n  {number}. {request:?}")?,
                Step::Do(deed) => write!(f, "\n  {number}. {deed:?}")?,
            }
        }
        Ok(())
    }
}

fn who() -> impl Strategy<Value = Who> {
    select(Who::ALL.to_vec())
}

fn backend() -> impl Strategy<Value = Backend> {
    select(Backend::ALL.to_vec())
}

fn person() -> impl Strategy<Value = Person> {
    select(vec![Person::Alice, Person::Bob])
}

fn asked() -> impl Strategy<Value = Scopes> {
    prop_oneof![
        1 => Just(Vec::new()),
        2 => subsequence(vec!["read", "write", "delete", "medical", "unknown"], 1..=5),
    ]
}

fn some_of(backend: Backend) -> impl Strategy<Value = Scopes> {
    let scopes = backend.scopes();
    let most = scopes.len();
    subsequence(scopes, 1..=most)
}

fn secret() -> impl Strategy<Value = Secret> {
    prop_oneof![6 => Just(Secret::Newest), 1 => Just(Secret::OneBefore), 3 => Just(Secret::TwoBefore)]
}

fn consent() -> impl Strategy<Value = Deed> {
    let lives = prop_oneof![3 => Just(None), 1 => select(vec![50_i64, 5000]).prop_map(Some)];
    (proptest::option::weighted(0.75, person()), who(), backend(), lives).prop_flat_map(|(of, to, at, lives)| {
        some_of(at).prop_map(move |scopes| Deed::Consent { of, to, at, scopes, lives })
    })
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let exchange = (who(), secret(), person(), backend(), asked(), select(vec![30_i64, 600])).prop_map(
        |(by, secret, person, at, scopes, id_token_lives)| Request::Exchange {
            by,
            secret,
            person,
            at,
            scopes,
            id_token_lives,
        },
    );
    // What the world begins with lets these through more often than not.
    let usual = (secret(), asked()).prop_map(|(secret, scopes)| Request::Exchange {
        by: Who::Assistant,
        secret,
        person: Person::Alice,
        at: Backend::Records,
        scopes,
        id_token_lives: 600,
    });
    let usual_hop = (0..2_usize, asked()).prop_map(|(token, scopes)| Request::PassOn {
        by: Who::RecordsBackend,
        token,
        at: Backend::Models,
        scopes,
    });
    // Rests on a consent for everyone alone.
    let of_everyone = (person(), asked()).prop_map(|(person, scopes)| Request::Exchange {
        by: Who::RecordsBackend,
        secret: Secret::Newest,
        person,
        at: Backend::Models,
        scopes,
        id_token_lives: 600,
    });
    let pass_on = (who(), 0..4_usize, backend(), asked()).prop_map(|(by, token, at, scopes)| Request::PassOn {
        by,
        token,
        at,
        scopes,
    });
    let own = (who(), secret(), proptest::option::weighted(0.7, backend()), asked())
        .prop_map(|(by, secret, at, scopes)| Request::ClientCredentials { by, secret, at, scopes });
    let declare = (
        who(),
        proptest::option::weighted(0.8, some_of(Backend::Records)),
        proptest::option::weighted(0.8, some_of(Backend::Models)),
        any::<bool>(),
    )
        .prop_map(|(who, records, models, consent_by_admin)| Deed::DeclareClient {
            who,
            records,
            models,
            consent_by_admin,
        });
    // The client of the usual second hop, whose consent for everyone counts only by an administrator.
    let declare_usual = prop::bool::weighted(0.4).prop_map(|consent_by_admin| Deed::DeclareClient {
        who: Who::RecordsBackend,
        records: None,
        models: Some(vec!["read", "medical"]),
        consent_by_admin,
    });
    let edge = (backend(), backend(), any::<bool>()).prop_map(|(from, to, is_there)| Deed::Edge { from, to, is_there });
    let client_of =
        (who(), backend(), any::<bool>()).prop_map(|(who, of, is_one)| Deed::ClientOfBackend { who, of, is_one });
    let request = prop_oneof![4 => exchange, 4 => usual, 4 => usual_hop, 2 => of_everyone, 3 => pass_on, 2 => own];
    let deed = prop_oneof![
        5 => consent(),
        2 => (0..4_usize).prop_map(Deed::RevokeConsent),
        2 => who().prop_map(Deed::SuspendClient),
        3 => who().prop_map(Deed::ResumeClient),
        1 => who().prop_map(Deed::RemoveClient),
        2 => declare,
        3 => declare_usual,
        1 => who().prop_map(Deed::RotateSecret),
        2 => Just(Deed::RotateSecret(Who::Assistant)),
        4 => Just(Deed::ReplaceSecrets(Who::Assistant)),
        1 => person().prop_map(Deed::SuspendUser),
        2 => person().prop_map(Deed::ResumeUser),
        2 => edge,
        2 => client_of,
        1 => any::<bool>().prop_map(Deed::PermitMedicalToDoctors),
        1 => any::<bool>().prop_map(Deed::ForbidWriting),
        1 => prop::bool::weighted(0.3).prop_map(|emergency| Deed::RotateKeys { emergency }),
        4 => select(vec![1_i64, 40, 200, 400, 1000]).prop_map(Deed::Wait),
    ];
    prop_oneof![request.prop_map(Step::Ask), deed.prop_map(Step::Do)]
}
