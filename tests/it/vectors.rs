//! `examples/vectors.json`: one list of good and bad tokens that every verifier is judged by, ours and those of others.
//!
//! The recipes in `vectors/recipes.rs` make the file, with keys that are in this repository and so protect nothing:
//! `PROCURA_WRITE_VECTORS=1 cargo test --test it vectors::` writes it. Without that the test compares it, byte by byte.
//! ECDSA and PSS are random: a signature that is in the file and right is taken over, so the file changes only where a
//! recipe did.

mod judges;
mod keys;
mod recipes;

use keys::Keys;
use recipes::{Stock, Vector};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The time at which the vectors in the file are judged, Unix seconds.
const NOW: i64 = 1_795_500_000;

const ISSUER: &str = "https://auth.example.com";
const AUDIENCE: &str = "https://records.example.com/api";

const ABOUT: &str = "Good and bad tokens for testing whatever verifies tokens of Procura. Judge each at the time `now`, \
    for the issuer and the audience given, with the keys in `jwks`. `algorithm` is the one that the backend is registered \
    with. `accept` says whether a backend should serve the bearer, and `check` which check refuses it otherwise. \
    `delegated` is false for a client's own token: a backend that serves only users refuses it. `stock` is about a \
    general JWT library with issuer, audience, algorithm, exp required, typ compared and 30 seconds of leeway: \"refuse\" \
    means that each must refuse it, \"accept\" that at least one lets it pass. The private keys are public; trust none.";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/vectors.json")
}

/// The vectors of the file, for other tests too.
pub(crate) fn stored() -> Value {
    let text = std::fs::read_to_string(path()).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_else(|_| json!({ "vectors": [] }))
}

fn as_file(keys: &Keys, vectors: &[Vector]) -> String {
    let vectors: Vec<Value> = vectors.iter().map(Vector::to_json).collect();
    let file = json!({
        "about": ABOUT, "issuer": ISSUER, "audience": AUDIENCE, "now": NOW, "jwks": keys.jwks(), "vectors": vectors,
    });
    format!("{}\n", serde_json::to_string_pretty(&file).unwrap())
}

#[test]
fn the_file_is_what_the_recipes_make() {
    let keys = Keys::read().taking_over(&stored());
    let made = as_file(&keys, &recipes::vectors(&keys, NOW));
    if std::env::var_os("PROCURA_WRITE_VECTORS").is_some() {
        std::fs::write(path(), made).unwrap();
        return;
    }
    let file = std::fs::read_to_string(path()).unwrap();
    if let Some((at, (made, file))) = made.lines().zip(file.lines()).enumerate().find(|(_, (made, file))| made != file)
    {
        panic!("examples/vectors.json, line {}: {file}\nbut the recipes make: {made}\nWrite it anew.", at + 1);
    }
    assert_eq!(made.lines().count(), file.lines().count(), "examples/vectors.json is longer or shorter: write it anew");
}

#[test]
fn no_name_is_used_twice_and_every_refusal_names_its_check() {
    let vectors = recipes::vectors(&Keys::read(), NOW);
    let names: BTreeSet<&str> = vectors.iter().map(|vector| vector.name).collect();
    assert_eq!(names.len(), vectors.len(), "a name is there twice");
    for Vector { name, check, stock, .. } in &vectors {
        assert!(check.is_some() || *stock == Stock::Accept, "{name}: a good token is accepted by any library");
    }
}

#[test]
fn a_token_without_its_signature_key_says_nothing() {
    // The judges rest on this: a verifier that looks at nothing would accept all of these.
    let keys = Keys::read();
    let vectors = recipes::vectors(&keys, NOW);
    let refused = vectors.iter().filter(|vector| vector.check.is_some()).count();
    assert!(refused * 3 > vectors.len() * 2, "most vectors are bad: {refused} of {}", vectors.len());
}
