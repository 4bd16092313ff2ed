//! Where each declaration, and each value in it, stands in the files.

use std::collections::HashMap;
use std::fmt;

/// The kinds of declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    IdentityProvider,
    Resource,
    Client,
    Policy,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::IdentityProvider, Self::Resource, Self::Client, Self::Policy];

    /// The name of its tables.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::IdentityProvider => "identity_provider",
            Self::Resource => "resource",
            Self::Client => "client",
            Self::Policy => "policy",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IdentityProvider => "identity provider",
            Self::Resource => "resource",
            Self::Client => "client",
            Self::Policy => "policy",
        })
    }
}

/// Where the Cedar text of a policy stands.
#[derive(Debug, Clone)]
pub(super) struct CedarPlace {
    pub(super) file: String,
    /// Line of the file on which line 1 of the text stands.
    pub(super) first_line: usize,
    /// False if the text is written on one line of the file, with escapes.
    pub(super) has_lines: bool,
}

/// Places by kind, id and path; a path is `/` and a key or an index, again and again.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    lines: HashMap<(Kind, String), HashMap<String, String>>,
    cedar: HashMap<String, CedarPlace>,
}

impl Places {
    pub(super) fn insert(&mut self, kind: Kind, id: &str, path: String, place: String) {
        self.lines.entry((kind, id.to_owned())).or_default().insert(path, place);
    }

    pub(super) fn insert_cedar(&mut self, policy: &str, place: CedarPlace) {
        self.cedar.insert(policy.to_owned(), place);
    }

    /// The place of a path or of the nearest thing around it. What no file declares is in the registry, or is being
    /// added by a command.
    pub(super) fn find(&self, kind: Kind, id: &str, path: &str) -> String {
        let Some(lines) = self.lines.get(&(kind, id.to_owned())) else {
            return "registry".to_owned();
        };
        let mut path = path;
        loop {
            match (lines.get(path), path.rsplit_once('/')) {
                (Some(place), _) => return place.clone(),
                (None, Some((around, _))) => path = around,
                (None, None) => return "registry".to_owned(),
            }
        }
    }

    /// The place of a line of a policy's Cedar text.
    pub(super) fn find_cedar(&self, policy: &str, line: usize) -> String {
        match self.cedar.get(policy) {
            Some(CedarPlace { file, first_line, has_lines: true }) => {
                format!("{file}:{}", first_line.saturating_add(line).saturating_sub(1))
            }
            Some(CedarPlace { file, first_line, has_lines: false }) => format!("{file}:{first_line}"),
            None => format!("{}, line {line}", self.find(Kind::Policy, policy, "")),
        }
    }
}
