//! The reference pages name exactly what the code has: nothing is left out, and nothing is promised that is not there.
//! A test that fails says which page to change, and how.

use clap::{Command, CommandFactory};
use procura::app::metrics::{Gauges, Metrics, ProviderGauges};
use procura::cli::Cli;
use procura::config::KNOWN_KEYS as CONFIGURATION_KEYS;
use procura::domain::client::{Assurance, GrantType};
use procura::domain::decision::{Gate, Granted, GrantedSubject, ReasonCode};
use procura::domain::delegation::{ActChain, Actor};
use procura::domain::policy::{PolicyDefault, PolicySet};
use procura::domain::resource::{ReleasedClaim, Resource, SigningAlgorithm};
use procura::domain::target::Target;
use procura::domain::user::UserAttributes;
use procura::registry_file::{self, KNOWN_KEYS as REGISTRY_KEYS, RegistryFile, Server, Source};
use procura::secrets::SecretsKey;
use procura::store::StoredRegistry;
use procura::tokens::mint::mint;
use procura::tokens::signing_keys::{SigningKeys, rotate};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const NOW: i64 = 1_800_000_000;
const DECISIONS: &str = "docs/reference/decisions.md";
const BEGIN: &str = "<!-- begin: written by `UPDATE_DOCS=1 cargo test reference` -->\n";
const END: &str = "<!-- end -->\n";

fn read(path: &str) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(whole).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn page(name: &str) -> String {
    read(&format!("docs/reference/{name}.md"))
}

/// The sections of a page: title without its marks, and text up to the next title.
fn sections(page: &str) -> Vec<(String, String)> {
    let mut sections = vec![(String::new(), String::new())];
    let mut is_code = false;
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        if !is_code && line.starts_with('#') {
            sections.push((line.trim_start_matches('#').trim().to_owned(), String::new()));
        } else {
            let (_, text) = sections.last_mut().unwrap();
            text.push_str(line);
            text.push('\n');
        }
    }
    sections
}

fn section(page: &str, title: &str) -> String {
    let found = sections(page).into_iter().find(|(other, _)| other == title);
    found.unwrap_or_else(|| panic!("there is no section {title:?}")).1
}

/// The cells of every table row whose first cell begins with code.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.replace("\\|", "\u{0}").trim_matches('|').split('|').map(cell).collect();
    text.lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

fn cell(text: &str) -> String {
    text.trim().replace('\u{0}', "|")
}

/// What stands between the first pair of backticks.
fn code(cell: &str) -> String {
    cell.split('`').nth(1).unwrap_or_else(|| panic!("{cell:?} has no code in it")).to_owned()
}

/// Everything between backticks in the first cell of each row.
fn names(text: &str) -> BTreeSet<String> {
    let all = |row: Vec<String>| row[0].split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    rows(text).into_iter().flat_map(all).collect()
}

fn assert_same(page: &str, what: &str, documented: &BTreeSet<String>, actual: &BTreeSet<String>) {
    let lacks: Vec<_> = actual.difference(documented).collect();
    let invents: Vec<_> = documented.difference(actual).collect();
    assert!(lacks.is_empty(), "docs/reference/{page}.md lacks {what} {lacks:?}: add them");
    assert!(invents.is_empty(), "docs/reference/{page}.md names {what} {invents:?}, which the code does not have");
}

fn owned<'t>(texts: impl IntoIterator<Item = &'t str>) -> BTreeSet<String> {
    texts.into_iter().map(str::to_owned).collect()
}

/// Every command without subcommands, by its whole name, with its long flags.
fn leaves(command: &Command, path: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
    let path = format!("{path} {}", command.get_name()).trim().to_owned();
    let mut subcommands = command.get_subcommands().filter(|sub| sub.get_name() != "help").peekable();
    if subcommands.peek().is_none() {
        found.insert(path, long_flags(command));
    } else {
        subcommands.for_each(|sub| leaves(sub, &path, found));
    }
}

fn long_flags(command: &Command) -> BTreeSet<String> {
    let arguments = command.get_arguments().filter(|argument| !argument.is_global_set());
    let long = arguments.filter_map(|argument| argument.get_long());
    long.filter(|long| !matches!(*long, "help" | "version")).map(|long| format!("--{long}")).collect()
}

/// The flags that the rows of a text begin with.
fn documented_flags(text: &str) -> BTreeSet<String> {
    let first_word = |name: String| name.split([' ', '=']).next().unwrap_or_default().to_owned();
    names(text).into_iter().map(first_word).filter(|name| name.starts_with("--")).collect()
}

#[test]
fn the_page_of_commands_names_every_command_and_flag() {
    let page = page("cli");
    let cli = Cli::command();
    let mut commands = BTreeMap::new();
    leaves(&cli, "", &mut commands);
    let titled = sections(&page).into_iter().filter(|(title, _)| title.starts_with("`procura"));
    let documented: BTreeMap<String, String> = titled.map(|(title, text)| (code(&title), text)).collect();
    let named = |title: &String| {
        let words =
            title.split(' ').take_while(|word| !word.starts_with(['-', '[', '<']) && word.to_uppercase() != *word);
        words.collect::<Vec<_>>().join(" ")
    };
    let documented: BTreeMap<String, String> =
        documented.iter().map(|(title, text)| (named(title), text.clone())).collect();
    let (have, want) = (documented.keys().cloned().collect(), commands.keys().cloned().collect());
    assert_same("cli", "the commands", &have, &want);
    for (command, flags) in &commands {
        assert_same("cli", &format!("flags of {command}:"), &documented_flags(&documented[command]), flags);
    }
    let global = cli.get_arguments().filter(|argument| argument.is_global_set());
    let global = global.filter_map(|argument| argument.get_long()).map(|long| format!("--{long}")).collect();
    assert_same("cli", "the flags of every command", &documented_flags(&section(&page, "Every command")), &global);
}

#[test]
fn the_page_of_configuration_has_every_key_with_its_default() {
    let rows = rows(&section(&page("configuration"), "Keys"));
    let documented = rows.iter().map(|row| code(&row[0])).collect();
    assert_same("configuration", "the keys", &documented, &owned(CONFIGURATION_KEYS.iter().copied()));
    let defaults = example_defaults();
    for row in &rows {
        let (key, told) = (code(&row[0]), row[1].as_str());
        match defaults.get(&key) {
            Some(default) => {
                assert_eq!(told, format!("`{default}`"), "docs/reference/configuration.md: the default of {key}");
            }
            None => assert!(
                !told.starts_with('`'),
                "docs/reference/configuration.md: {key} has no fixed default in procura.example.toml; say it in words"
            ),
        }
    }
}

/// The values in `procura.example.toml`, as they are written there. What is commented out has none.
fn example_defaults() -> BTreeMap<String, String> {
    let mut section = String::new();
    let mut defaults = BTreeMap::new();
    for line in read("procura.example.toml").lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((key, value)) = line.split_once(" = ") {
            defaults.insert(format!("{section}{key}"), value.to_owned());
        }
    }
    defaults
}

#[test]
fn the_page_of_the_registry_file_has_every_key_of_every_table() {
    let sections: BTreeMap<String, String> = sections(&page("registry-file"))
        .into_iter()
        .filter(|(title, _)| title.starts_with('`'))
        .map(|(title, text)| (code(&title).trim_matches(['[', ']']).to_owned(), text))
        .collect();
    let tables = owned(REGISTRY_KEYS.map(|(table, _)| table));
    assert_same("registry-file", "the tables", &sections.keys().cloned().collect(), &tables);
    for (table, keys) in REGISTRY_KEYS {
        let documented = names(&sections[table]);
        assert_same("registry-file", &format!("keys of {table}:"), &documented, &owned(keys.iter().copied()));
    }
}

/// The blocks of TOML in a page.
fn toml_blocks(text: &str) -> Vec<String> {
    text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

fn declared(page: &str, toml: String) -> RegistryFile {
    let source = Source { name: page.to_owned(), text: toml, directory: ".".into() };
    registry_file::parse(&[source]).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// The whole registry file that the reference page shows.
fn whole_example() -> RegistryFile {
    let text = section(&page("registry-file"), "A whole one");
    declared("docs/reference/registry-file.md", toml_blocks(&text).remove(0))
}

fn apply_to_an_empty_registry(file: &RegistryFile) {
    let checked = file.check(
        &StoredRegistry::default(),
        false,
        Server { issuer: "https://auth.example.com", policy_default: PolicyDefault::Permit },
    );
    checked.unwrap_or_else(|problems| panic!("{problems:?}"));
}

#[test]
fn the_registry_files_that_pages_show_can_be_applied() {
    apply_to_an_empty_registry(&whole_example());
    let page = "docs/how-to/register-a-client.md";
    apply_to_an_empty_registry(&declared(page, toml_blocks(&read(page)).remove(0)));
}

#[test]
fn the_identity_providers_that_pages_show_can_be_declared() {
    let page = "docs/how-to/trust-an-identity-provider.md";
    let whole = toml_blocks(&read(page)).into_iter().filter(|toml| toml.starts_with("[[identity_provider]]"));
    let count = whole.map(|toml| declared(page, toml)).filter(|file| file.identity_providers.len() == 1).count();
    assert!(count >= 5, "{page} shows {count} identity providers");
}

#[test]
fn the_policies_that_pages_show_compile() {
    let page = "docs/how-to/write-a-policy.md";
    let blocks = toml_blocks(&read(page));
    let policies: Vec<_> = blocks.into_iter().flat_map(|toml| declared(page, toml).policies).collect();
    let resources = whole_example().resources;
    let compiled = PolicySet::compile(resources.iter(), policies.iter(), PolicyDefault::Permit);
    compiled.unwrap_or_else(|problems| panic!("{problems:?}"));
    assert!(!policies.is_empty());
}

/// A grant with everything that can be in a token.
fn everything() -> Granted {
    let actor = |sub: &str| Actor { iss: None, sub: sub.to_owned(), client_id: None };
    let chain = ActChain::new(actor("assistant")).extend(actor("records-backend"), 4).unwrap();
    let resource = Resource {
        id: "models".parse().unwrap(),
        audience: "https://models.example.com/api".parse().unwrap(),
        name: "Models".to_owned(),
        token_lifetime_seconds: 300,
        connector_token_lifetime_seconds: 900,
        max_auth_age_seconds: None,
        acr_values: Vec::new(),
        signing_algorithm: SigningAlgorithm::ES256,
        release_claims: vec![ReleasedClaim::Roles, ReleasedClaim::Groups, ReleasedClaim::Email],
        may_exchange_to: Vec::new(),
        clients: Vec::new(),
        open_to: Vec::new(),
        is_default: false,
        status_list: true,
        scopes: Vec::new(),
    };
    let attributes = UserAttributes {
        roles: vec!["doctor".to_owned()],
        groups: vec!["ward-3".to_owned()],
        email: Some("alice@example.com".to_owned()),
        email_verified: None,
        name: Some("Alice".to_owned()),
    };
    Granted {
        subject: GrantedSubject::User {
            id: "corp|alice".parse().unwrap(),
            idp: "corp".parse().unwrap(),
            idp_sub: "alice".to_owned(),
            attributes,
        },
        client: "records-backend".parse().unwrap(),
        assurance: Assurance::Vetted,
        target: Target::Resource(Arc::new(resource)),
        scopes: "model.medical".parse().unwrap(),
        cut: Vec::new(),
        chain: Some(chain),
        issued_at: NOW,
        expires_at: NOW + 300,
        grant_id: Some("con_2".to_owned()),
        earlier_grants: vec!["con_1".to_owned()],
        sid: Some("fam_1".to_owned()),
        txn: Some("txn_1".to_owned()),
        single_use: None,
        auth_time: Some(NOW - 60),
        acr: Some("2".to_owned()),
        amr: vec!["pwd".to_owned()],
        policies: Vec::new(),
        policy_hash: "hash".to_owned(),
    }
}

/// The member names of the header and of the claims of a token.
fn members(token: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut parts = token.split('.').map(|part| {
        use base64::Engine;
        let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&json)
            .map(|object| object.keys().cloned().collect())
            .unwrap_or_default()
    });
    (parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn the_page_of_token_claims_has_every_claim_that_can_be_in_a_token() {
    let key = SecretsKey::generate();
    let rotation = rotate(&[], SigningAlgorithm::ES256, 0, false, &key, NOW).unwrap();
    let keys = SigningKeys::open(&[rotation.key], &key, NOW).unwrap();
    let minted = mint(&everything(), "https://auth.example.com", &keys, Some(70_000)).unwrap();
    let (header, claims) = members(&minted.token);
    let page = page("token-claims");
    assert_same("token-claims", "the header members", &names(&section(&page, "Header")), &header);
    assert_same("token-claims", "the claims", &names(&section(&page, "Claims")), &claims);
}

#[test]
fn the_page_of_metrics_has_every_metric_with_its_labels() {
    let metrics = Metrics::default();
    metrics.count_request("/token", 200, Duration::ZERO);
    metrics.count_exchange("granted", "granted", Duration::ZERO);
    metrics.count_issued(GrantType::TokenExchange);
    metrics.count_client_auth_failure("client_secret_basic", "client_secret_wrong");
    metrics.count_registration("dynamic", "ok");
    metrics.count_forward_auth("passed", "passed");
    metrics.count_cleanup(&[("used_token", 1)]);
    metrics.count_checkpoints("ok", 1);
    metrics.count_checkpoint_copies("file", "ok", 1);
    let gauges = Gauges {
        providers: vec![ProviderGauges {
            issuer: "https://idp.example.com".to_owned(),
            fetches: (1, 1),
            jwks_age_seconds: Some(1),
            clock_skew_seconds: Some(1),
        }],
        db_pool_in_use: 1,
        signing_key_age_seconds: Some(1),
        signing_key_next_rotation_seconds: Some(1),
        ..Gauges::default()
    };
    let mut actual: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in metrics.encode(&gauges).unwrap().lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let name = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let labels = line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(labels, _)| labels);
        let labels = labels.split(',').filter_map(|label| label.split_once('=')).map(|(label, _)| label);
        actual.entry(name.to_owned()).or_default().extend(labels.filter(|label| *label != "le").map(str::to_owned));
    }
    let rows: BTreeMap<String, BTreeSet<String>> = rows(&page("metrics"))
        .into_iter()
        .filter(|row| row.len() == 4)
        .map(|row| (code(&row[0]), row[2].split('`').skip(1).step_by(2).map(str::to_owned).collect()))
        .collect();
    assert_same("metrics", "the metrics", &rows.keys().cloned().collect(), &actual.keys().cloned().collect());
    for (name, labels) in &actual {
        assert_eq!(rows[name], *labels, "docs/reference/metrics.md: the labels of {name}");
    }
}

#[test]
fn the_page_of_endpoints_has_every_route() {
    let mut routes = BTreeSet::new();
    for file in ["src/server.rs", "src/oauth/mod.rs", "src/pages/mod.rs"] {
        let text = read(file);
        let calls = text.split(".route(").skip(1);
        let paths = calls.map(|call| code(&call.split('"').nth(1).map(|path| format!("`{path}`")).unwrap()));
        // Where the issuer has a path, the same documents are also at the root of the host.
        routes.extend(paths.map(|path| path.replace("{issuer_path}", "")));
    }
    let page = page("http-endpoints");
    let mut documented = names(&section(&page, "On `listen`"));
    documented.extend(names(&section(&page, "On `admin_listen`")));
    assert_same("http-endpoints", "the paths", &documented, &routes);
}

/// The part of the page that comes from the code: every gate with its reason codes.
fn rendered() -> String {
    let mut page = String::new();
    for gate in Gate::ALL {
        match gate {
            Gate::Request => writeln!(page, "\n## Before the gates: {}\n", gate.title()).unwrap(),
            Gate::Client
            | Gate::Grant
            | Gate::SubjectToken
            | Gate::SubjectOwner
            | Gate::Actor
            | Gate::Chain
            | Gate::Target
            | Gate::Scope
            | Gate::Consent
            | Gate::Policy
            | Gate::Limits
            | Gate::Lifetime => writeln!(page, "\n## Gate {}: {}\n", gate.number(), gate.title()).unwrap(),
        }
        for reason in ReasonCode::ALL.iter().filter(|reason| reason.gate() == gate) {
            writeln!(page, "### `{}`\n", reason.as_str()).unwrap();
            writeln!(page, "`{}`: \"{}\"\n", reason.error().as_str(), reason.public_description()).unwrap();
            writeln!(page, "{}\n", reason.meaning()).unwrap();
            writeln!(page, "*What to do:* {}\n", reason.fix()).unwrap();
        }
    }
    page
}

#[test]
fn the_page_of_decisions_has_every_gate_and_reason_code_as_the_code_has_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DECISIONS);
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the line where the generated part begins");
    let (_, after) = rest.split_once(END).expect("the page has the line where the generated part ends");
    let expected = format!("{before}{BEGIN}{}{END}{after}", rendered());
    if page == expected {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, expected).unwrap();
        return;
    }
    let differs = expected.lines().zip(page.lines()).find(|(code, page)| code != page);
    panic!("{DECISIONS} is behind the code, first at {differs:?}: run UPDATE_DOCS=1 cargo test reference");
}

/// Every Markdown file of the project, by its path.
fn pages() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![String::new(), "docs/".to_owned()];
    while let Some(folder) = folders.pop() {
        let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder);
        for entry in fs::read_dir(whole).unwrap().map(Result::unwrap) {
            let path = format!("{folder}{}", entry.file_name().into_string().unwrap());
            if Path::new(&path).extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            } else if entry.file_type().unwrap().is_dir() && folder.starts_with("docs/") {
                folders.push(format!("{path}/"));
            }
        }
    }
    found
}

/// The anchor that a title gets: lower case, blanks as hyphens, without other punctuation.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut broken = Vec::new();
    for path in pages() {
        let text = read(&path);
        // Between fences there is code.
        let prose: Vec<&str> = text.split("```").step_by(2).collect();
        let prose = prose.join(" ");
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let folder = Path::new(&path).parent().unwrap();
            let file = if file.is_empty() { Path::new(&path).to_path_buf() } else { folder.join(file) };
            let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
            let is_there = match fs::read_to_string(&whole) {
                Ok(text) => fragment.is_empty() || sections(&text).iter().any(|(title, _)| anchor(title) == fragment),
                Err(_) => false,
            };
            if !is_there {
                broken.push(format!("{path}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}

/// The text of every Rust file under a folder.
fn rust_under(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

/// True if the text has the word, not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(part_of_word) && !text[at + word.len()..].starts_with(part_of_word))
}

#[test]
fn every_reason_code_is_given_by_the_code_and_looked_for_by_a_test() {
    let (mut code, mut tests) = (Vec::new(), rust_under("tests/it"));
    for (path, text) in rust_under("src") {
        let path_text = path.to_str().unwrap().replace('\\', "/");
        if path_text.ends_with("/decision/reason.rs") {
            continue;
        }
        if path_text.contains("/tests/") || path_text.ends_with("/tests.rs") {
            tests.push((path, text));
        } else {
            let (before, under_test) = text.split_once("#[cfg(test)]\nmod tests {").unwrap_or((&text, ""));
            tests.push((path.clone(), under_test.to_owned()));
            code.push(before.to_owned());
        }
    }
    // The list of what is tested elsewhere is no test.
    for (_, text) in &mut tests {
        if let Some((before, rest)) = text.split_once("const GIVEN_ELSEWHERE") {
            let after = rest.split_once("];").map_or("", |(_, after)| after);
            *text = format!("{before}{after}");
        }
    }
    let mut problems = Vec::new();
    for reason in ReasonCode::ALL {
        let (variant, text) = (format!("{reason:?}"), reason.as_str());
        if !code.iter().any(|code| has_word(code, &variant)) {
            problems.push(format!("{text}: nothing gives it. Take it out of reason.rs, or give it."));
        }
        if !tests.iter().any(|(_, test)| has_word(test, &variant) || has_word(test, text)) {
            problems.push(format!("{text}: no test looks for it. Add one that is refused with it."));
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn the_checks_and_the_tests_that_the_page_of_security_names_are_there() {
    let page = read("docs/explanation/security.md");
    let rows = rows(&section(&page, "Does a test notice when a check is gone?"));
    let all_of = |folder: &str| rust_under(folder).into_iter().map(|(_, text)| text).collect::<String>();
    let (code, tests) = (all_of("src"), all_of("tests"));
    let is_test = |name: &str| [&code, &tests].iter().any(|text| has_word(text, name));
    for row in &rows {
        let [place, _, fails] = row.as_slice() else { panic!("{row:?} has not three cells") };
        let in_code = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let [file, function] = &in_code(place)[..] else { panic!("{place} is not a file and a function") };
        let file = read(&format!("src/{file}"));
        assert!(has_word(&file, &format!("fn {function}")), "{place} is gone");
        assert!(!in_code(fails).is_empty() && in_code(fails).iter().all(|name| is_test(name)), "{fails} is gone");
    }
    assert!(rows.len() >= 50, "{} changes", rows.len());
}
