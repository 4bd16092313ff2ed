//! The fuzz targets in short: every corpus entry, and random changes of them, against the same properties as
//! `make fuzz` (docs/decisions/0016). What a fuzzer found stays found: its input is in the corpus.

#[path = "../../fuzz/properties/basic_header.rs"]
mod basic_header;
#[path = "../../fuzz/properties/compact_jwt.rs"]
mod compact_jwt;
#[path = "../../fuzz/properties/jwks.rs"]
mod jwks;
#[path = "../../fuzz/properties/registry_file.rs"]
mod registry_file;
#[path = "../../fuzz/properties/token_form.rs"]
mod token_form;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use std::path::Path;

/// One change of an entry; places wrap around.
#[derive(Debug, Clone)]
enum Edit {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    /// The rest is that of another entry.
    Splice(Index, Index, Index),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = any::<Index>;
    let word = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..4),
        "[ -~]{1,6}".prop_map(String::into_bytes),
        prop::sample::select(vec![
            "%", "%00", "&", "=", ".", "\n", "\"", "{}", "\\u0000", "é", "\u{7f}", "-0", "1e400"
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
    ];
    let edit = prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (at(), word).prop_map(|(at, word)| Edit::Insert(at, word)),
        (at(), 1..24_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        (at(), 1..24_usize).prop_map(|(at, length)| Edit::Repeat(at, length)),
        (at(), at(), at()).prop_map(|(at, entry, from)| Edit::Splice(at, entry, from)),
    ];
    proptest::collection::vec(edit, 0..6)
}

fn edited(corpus: &[Vec<u8>], entry: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = entry.to_vec();
    for edit in edits {
        let place = |at: &Index, length: usize| at.index(length + 1);
        match edit {
            Edit::Set(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Edit::Set(..) => {}
            Edit::Insert(at, word) => {
                let at = place(at, bytes.len());
                bytes.splice(at..at, word.iter().copied());
            }
            Edit::Remove(at, length) => {
                let at = place(at, bytes.len());
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            Edit::Repeat(at, length) => {
                let at = place(at, bytes.len());
                let part = bytes[at..(at + length).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            Edit::Splice(at, other, from) => {
                bytes.truncate(place(at, bytes.len()));
                let other = &corpus[other.index(corpus.len())];
                bytes.extend_from_slice(&other[place(from, other.len())..]);
            }
        }
    }
    bytes
}

fn every_entry_and_changes_of_it(target: &str, cases: u32, holds: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let corpus: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(corpus.len() >= 5, "the corpus of {target} is there");
    for entry in &corpus {
        holds(entry);
    }
    let config = Config { failure_persistence: None, ..Config::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { cases };
    let mut runner = TestRunner::new(Config { cases, ..config });
    let strategy = (any::<Index>(), edits()).prop_map(|(entry, edits)| {
        let bytes = edited(&corpus, &corpus[entry.index(corpus.len())], &edits);
        Shown(bytes)
    });
    runner
        .run(&strategy, |Shown(bytes)| {
            holds(&bytes);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// Bytes that a failure prints so that they can be made a file of the corpus.
#[derive(Clone)]
struct Shown(Vec<u8>);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

#[test]
fn any_bytes_as_a_token_form() {
    every_entry_and_changes_of_it("token_form", 3000, token_form::holds);
}

#[test]
fn any_bytes_as_a_compact_jwt() {
    every_entry_and_changes_of_it("compact_jwt", 3000, compact_jwt::holds);
}

#[test]
fn any_bytes_as_a_jwk_set() {
    every_entry_and_changes_of_it("jwks", 1000, jwks::holds);
}

#[test]
fn any_bytes_as_a_registry_file() {
    every_entry_and_changes_of_it("registry_file", 1000, registry_file::holds);
}

#[test]
fn any_bytes_as_a_basic_header() {
    every_entry_and_changes_of_it("basic_header", 3000, basic_header::holds);
}
