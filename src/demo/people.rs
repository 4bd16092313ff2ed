//! The two people of the demo: what the identity provider knows of them, and what the records backend holds.

use serde_json::{Value, json};

/// A person who can sign in at the demo identity provider.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Person {
    /// `sub` at the identity provider; since it is the only provider and has no prefix, `sub` at the backends too.
    pub(super) sub: &'static str,
    pub(super) name: &'static str,
    pub(super) role: &'static str,
    pub(super) email: &'static str,
    /// Day and text of each of their health records.
    pub(super) records: &'static [(&'static str, &'static str)],
}

/// Alice, a doctor. Her three records are her own, as anybody's.
pub(super) const ALICE: Person = Person {
    sub: "alice",
    name: "Alice",
    role: "doctor",
    email: "alice@hospital.example",
    records: &[
        ("2026-01-12", "Blood pressure 118/76, resting pulse 58"),
        ("2026-03-02", "Influenza vaccination, left arm"),
        ("2026-05-20", "Eye test: no glasses needed"),
    ],
};

/// Bob, a patient.
pub(super) const BOB: Person = Person {
    sub: "bob",
    name: "Bob",
    role: "patient",
    email: "bob@mail.example",
    records: &[
        ("2026-01-30", "Sprained ankle, two weeks of rest"),
        ("2026-02-14", "Ankle healed"),
        ("2026-04-08", "Allergy test: birch and hazel pollen"),
        ("2026-06-11", "Tetanus vaccination, right arm"),
    ],
};

/// Everybody.
pub(super) const PEOPLE: [&Person; 2] = [&ALICE, &BOB];

impl Person {
    /// The person of this `sub`.
    pub(super) fn find(sub: &str) -> Option<&'static Self> {
        PEOPLE.into_iter().find(|person| person.sub == sub)
    }

    /// Their records, as the backend answers them.
    pub(super) fn rows(&self) -> Vec<Value> {
        let row = |(day, text): &(&str, &str)| json!({ "owner": self.sub, "day": day, "text": text });
        self.records.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alice_has_three_rows_and_bob_four() {
        assert_eq!((ALICE.rows().len(), BOB.rows().len()), (3, 4));
        assert_eq!(Person::find("bob"), Some(&BOB));
        assert_eq!(Person::find("mallory"), None);
    }
}
