//! What must hold of any bytes as a registry file: mistakes are told with their lines, and what is accepted can be
//! exported and applied again without a change.

use procura::domain::change::Change;
use procura::domain::client::{Assurance, ClientEntry};
use procura::domain::policy::PolicyDefault;
use procura::registry_file::{FileProblem, RegistryFile, Server, Source, parse, to_toml};
use procura::store::StoredRegistry;
use std::path::PathBuf;

const NAME: &str = "registry.toml";
/// The server that the files are for.
const SERVER: Server<'_> = Server { issuer: "https://auth.example.com", policy_default: PolicyDefault::Permit };

pub(crate) fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // `file = "..."` reads from the disk.
    if text.contains("file") {
        return;
    }
    let file = match read(text) {
        Ok(file) => file,
        Err(problems) => return told(text, &problems),
    };
    let checked = file.check(&StoredRegistry::default(), false, SERVER);
    if let Err(problems) = &checked {
        told(text, problems);
    }
    let registry = registry(&file);
    let exported = to_toml(&registry);
    let again = read(&exported).unwrap_or_else(|problems| panic!("{problems:?}\n{exported}"));
    let declared = |file: &RegistryFile| {
        (file.identity_providers.clone(), file.resources.clone(), file.clients.clone(), file.policies.clone())
    };
    assert_eq!(declared(&again), declared(&file), "{exported}");
    assert_eq!(to_toml(&self::registry(&again)), exported);
    let changes = again.changes(&registry, true, &[], 1_800_000_000);
    assert!(changes.iter().all(|change| matches!(change, Change::GrantConsent(_))), "a second time changes nothing");
    if checked.is_ok() {
        let checked = again.check(&registry, true, SERVER);
        assert_eq!(checked, Ok(()), "what was accepted is accepted again");
    }
}

fn read(text: &str) -> Result<RegistryFile, Vec<FileProblem>> {
    parse(&[Source { name: NAME.to_owned(), text: text.to_owned(), directory: PathBuf::new() }])
}

/// The registry as the store has it after the file was applied to nothing.
fn registry(file: &RegistryFile) -> StoredRegistry {
    let clients = file.clients.iter().cloned();
    StoredRegistry {
        identity_providers: file.identity_providers.clone(),
        resources: file.resources.clone(),
        clients: clients
            .map(|client| ClientEntry {
                client,
                assurance: Assurance::Vetted,
                suspended_at: None,
                other_authentication: Vec::new(),
            })
            .collect(),
        policies: file.policies.clone(),
        ..StoredRegistry::default()
    }
}

fn told(text: &str, problems: &[FileProblem]) {
    assert!(!problems.is_empty(), "a refusal has a reason");
    let lines = text.split('\n').count();
    for problem in problems {
        let line = problem.place.strip_prefix(NAME).and_then(|rest| rest.strip_prefix(':'));
        let line: usize = line.and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("no line: {problem:?}"));
        assert!((1..=lines).contains(&line), "{problem:?} of {lines} lines");
        assert!(!problem.problem.trim().is_empty());
    }
}
