//! The configuration: file, environment, defaults, and what stops the start.

use procura::config::{Config, ConfigSources, KNOWN_KEYS};
use procura::domain::policy::PolicyDefault;
use secrecy::ExposeSecret;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn sources(file: Option<PathBuf>, environment: &[(&str, &str)]) -> ConfigSources {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ConfigSources { file, environment, database_url: None }
}

/// Loads this text as `procura.toml`; the problem is told with the file's bare name.
fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("procura.toml");
    fs::write(&path, text).unwrap();
    let prefix = format!("{}/", directory.path().display());
    Config::load(&sources(Some(path), environment)).map_err(|problem| problem.to_string().replace(&prefix, ""))
}

fn problem(text: &str) -> String {
    load(text, &[]).expect_err("the configuration has a mistake")
}

fn problem_of(name: &str, value: &str) -> String {
    load("", &[(name, value)]).expect_err("the variable has a mistake")
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("procura.example.toml")
}

#[test]
fn the_example_file_states_the_built_in_defaults() {
    let example = Config::load(&sources(Some(example()), &[])).unwrap();
    let built_in = Config::load(&sources(None, &[])).unwrap();
    assert_eq!(format!("{example:#?}"), format!("{built_in:#?}"));
    assert_eq!(example.database_url, built_in.database_url);
    assert!(built_in.secrets_key.is_none());
}

#[test]
fn the_example_file_has_every_known_key() {
    let text = fs::read_to_string(example()).unwrap();
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
            found.push(format!("{section}{key}"));
        }
    }
    for key in KNOWN_KEYS {
        assert!(found.iter().any(|name| name == key), "procura.example.toml lacks {key}");
    }
}

#[test]
fn without_a_file_the_defaults_are_loopback_and_sqlite() {
    let config = Config::load(&sources(None, &[])).unwrap();
    assert_eq!(config.issuer, "http://127.0.0.1:8420");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:8421");
    assert_eq!(config.database_url, "sqlite://procura.db");
    assert_eq!(config.policy_default, PolicyDefault::Permit);
    assert_eq!(config.limits.user_exchanges_per_minute, 600);
}

#[test]
fn the_environment_wins_over_the_file_and_the_command_line_over_both() {
    let text = "issuer = 'https://file.example'\ndatabase_url = 'sqlite://file.db'\n[tokens]\nclock_skew_seconds = 5";
    let environment = [
        ("PROCURA_ISSUER", "https://environment.example"),
        ("PROCURA_TOKENS__CLOCK_SKEW_SECONDS", "7"),
        ("PROCURA_DATABASE_URL", "sqlite://environment.db"),
        ("PROCURA_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1"),
        ("PROCURA_POLICY__DEFAULT", "explicit"),
        ("PROCURA_CONFIG", "procura.toml"),
    ];
    let config = load(text, &environment).unwrap();
    assert_eq!(config.issuer, "https://environment.example");
    assert_eq!(config.tokens.clock_skew_seconds, 7);
    assert_eq!(config.database_url, "sqlite://environment.db");
    assert_eq!(config.policy_default, PolicyDefault::Explicit);
    let proxies: Vec<String> = config.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "192.0.2.1/32"]);

    let mut sources = sources(None, &environment);
    sources.database_url = Some("sqlite://typed.db".to_owned());
    assert_eq!(Config::load(&sources).unwrap().database_url, "sqlite://typed.db");
}

#[test]
fn an_unknown_key_stops_the_start_with_the_nearest_known_one() {
    assert_eq!(
        problem("\n\nisuer = 'https://a.example'"),
        "procura.toml:3: unknown key `isuer`; did you mean `issuer`?"
    );
    assert_eq!(
        problem("[tokens]\nclock_skew_second = 3"),
        "procura.toml:2: unknown key `tokens.clock_skew_second`; did you mean `tokens.clock_skew_seconds`?"
    );
    assert_eq!(
        problem("clock_skew_seconds = 3"),
        "procura.toml:1: unknown key `clock_skew_seconds`; did you mean `tokens.clock_skew_seconds`?"
    );
    assert_eq!(problem("[token]\nx = 3"), "procura.toml:1: unknown section `token`; did you mean `tokens`?");
    assert_eq!(problem("tokens = 3"), "procura.toml:1: `tokens` is a section: write [tokens] and its keys below");
    assert_eq!(
        problem_of("PROCURA_ISUER", "https://a.example"),
        "PROCURA_ISUER: unknown variable; did you mean `PROCURA_ISSUER`?"
    );
}

#[test]
fn who_may_register_is_told_in_words_and_a_token_goes_with_the_word_that_asks_for_it() {
    use procura::config::DynamicRegistration;
    let registration = |text: &str| load(&format!("[registration]\n{text}"), &[]).unwrap().registration;
    let default = load("", &[]).unwrap().registration;
    assert_eq!((default.dynamic, default.metadata_documents), (DynamicRegistration::On, true));
    assert_eq!(default.private_use_redirect_uris, ["cursor://anysphere.cursor-mcp/oauth/callback"]);
    assert_eq!((default.per_minute, default.unused_hours, default.idle_days), (20, 24, 90));
    assert_eq!(registration("dynamic = \"off\"").dynamic, DynamicRegistration::Off);
    assert!(!registration("metadata_documents = \"off\"").metadata_documents);
    let lists = load("", &[("PROCURA_REGISTRATION__ALLOW", "claude.ai, https://chatgpt.com/oauth/client.json")]);
    assert_eq!(lists.unwrap().registration.allow, ["claude.ai", "https://chatgpt.com/oauth/client.json"]);
    for (text, part) in [
        ("dynamic = true", "`registration.dynamic` must be \"on\" or \"off\" or \"token\""),
        ("dynamic = \"yes\"", "must be \"on\" or \"off\" or \"token\""),
        ("dynamic = \"token\"", "`registration.initial_access_token` is required with"),
        ("initial_access_token = \"aaaaaaaaaaaaaaaaaaaaaaaa\"", "is asked for only with"),
        ("dynamic = \"token\"\ninitial_access_token = \"hunter2\"", "must be 20 or more"),
        ("allow = [\"https://Claude.ai/x\"]", "must be hosts such as"),
        ("deny = [\"*.evil.example\"]", "must be hosts such as"),
        ("allow = \"claude.ai\"", "must be an array of texts"),
        ("private_use_redirect_uris = [\"https://a.example/\"]", "needs no permission"),
        ("private_use_redirect_uris = [\"javascript:alert(1)\"]", "a browser would run"),
        ("idle_days = 0", "from 1 to 3650"),
    ] {
        let problem = problem(&format!("[registration]\n{text}"));
        assert!(problem.contains(part) && !problem.contains("hunter2"), "{problem}");
    }
}

#[test]
fn variables_that_kubernetes_makes_for_a_service_are_no_settings() {
    let environment = [("PROCURA_PORT", "tcp://10.0.0.1:80"), ("PROCURA_SERVICE_HOST", "10.0.0.1")];
    assert!(load("", &environment).is_ok());
}

#[test]
fn a_value_of_the_wrong_type_or_out_of_range_is_told_with_what_is_accepted() {
    assert_eq!(
        problem("[tokens]\nclock_skew_seconds = '3'"),
        "procura.toml:2: `tokens.clock_skew_seconds` must be a whole number from 0 to 60, and is a text"
    );
    assert_eq!(
        problem("[tokens]\nclock_skew_seconds = 61"),
        "procura.toml:2: `tokens.clock_skew_seconds` must be a whole number from 0 to 60"
    );
    assert_eq!(problem("issuer = 3"), "procura.toml:1: `issuer` must be a text, and is a number");
    assert_eq!(problem("[log]\nformat = 'xml'").split(": ").last().unwrap().split(' ').next(), Some("`log.format`"));
    assert_eq!(
        problem("trusted_proxies = ['ten']"),
        "procura.toml:1: `trusted_proxies` must be an array of addresses or networks such as \"10.0.0.0/8\", and has \"ten\""
    );
    assert_eq!(
        problem_of("PROCURA_LISTEN", "localhost"),
        "PROCURA_LISTEN: must be an IP address and a port, such as 127.0.0.1:8420 or [::1]:8420"
    );
    assert_eq!(
        problem_of("PROCURA_AUDIT__QUEUE", "many"),
        "PROCURA_AUDIT__QUEUE: must be a whole number from 1 to 1000000"
    );
    assert_eq!(problem_of("PROCURA_ISSUER", ""), "PROCURA_ISSUER: is empty: give it a value or unset it");
    assert!(problem("issuer = ").starts_with("procura.toml:1: "));
}

#[test]
fn an_issuer_must_be_set_when_others_can_reach_the_server() {
    assert_eq!(
        problem("listen = '0.0.0.0:8420'"),
        "procura.toml: `issuer` must be set, since clients cannot tell it from the listen address 0.0.0.0:8420"
    );
    assert_eq!(load("listen = '[::1]:9000'", &[]).unwrap().issuer, "http://[::1]:9000");
    assert_eq!(
        problem("issuer = 'http://auth.example.com'"),
        "procura.toml:1: `issuer` must use https; http is for loopback only"
    );
}

#[test]
fn postgres_needs_a_secrets_key_and_no_error_repeats_a_secret() {
    let url = ("PROCURA_DATABASE_URL", "postgres://u:hunter2@db/procura");
    let missing = load("", &[url]).unwrap_err();
    assert!(missing.contains("`secrets_key` is required with PostgreSQL"), "{missing}");
    let config = load("", &[url, ("PROCURA_SECRETS_KEY", KEY)]).unwrap();
    assert_eq!(config.secrets_key.as_ref().unwrap().expose_secret(), KEY);
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2") && !shown.contains(KEY), "{shown}");
    assert!(config.secrets_key(true).is_ok());

    let wrong = problem_of("PROCURA_SECRETS_KEY", "aHVudGVyMg==");
    assert!(wrong.starts_with("PROCURA_SECRETS_KEY: is not the base64 text of 32 bytes"), "{wrong}");
    assert!(!wrong.contains("aHVudGVyMg"), "{wrong}");
    let wrong = problem_of("PROCURA_DATABASE_URL", "mysql://u:hunter2@db/procura");
    assert!(!wrong.contains("hunter2"), "{wrong}");
}

#[test]
fn the_secrets_key_of_a_sqlite_database_is_made_once_and_only_for_its_owner() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("p.db");
    let mut sources = sources(None, &[]);
    sources.database_url = Some(format!("sqlite://{}", database.display()));
    let config = Config::load(&sources).unwrap();
    let first = config.secrets_key(true).unwrap().derive("x");
    assert_eq!(config.secrets_key(true).unwrap().derive("x"), first);

    let file = directory.path().join("p.db.secrets_key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = config.secrets_key(true).unwrap_err().to_string();
    assert_eq!(refused, format!("{0}: others may use it (mode 0640): run chmod 600 {0}", file.display()));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, "short").unwrap();
    assert!(config.secrets_key(true).is_err());
}
