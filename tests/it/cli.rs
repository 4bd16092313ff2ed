//! The commands of the registry, as an operator runs them: the real program on a SQLite file.

use crate::registry_file::DOCUMENTED;
use procura::clock::Clock;
use procura::domain::change::Change;
use procura::domain::event::{AuditEvent, EventKind};
use procura::secrets::verify_client_secret;
use procura::store::{EventFilter, Store, StoredRegistry};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A working directory with its own database.
struct Desk {
    directory: TempDir,
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Desk {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// With the documented registry applied.
    fn furnished() -> Self {
        let desk = Self::new();
        desk.write("registry.toml", DOCUMENTED);
        desk.ok(&["apply", "registry.toml"]);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_procura"));
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROCURA_")) {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.command(arguments).output().unwrap().into()
    }

    /// What a command prints that succeeds.
    fn ok(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.out
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// What a command says that is refused; nothing is on its standard output.
    fn refused(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{arguments:?}: {ended:?}");
        ended.err
    }

    async fn store(&self) -> Store {
        Store::connect(&format!("sqlite://{}", self.path("procura.db").display())).await.unwrap()
    }

    async fn registry(&self) -> StoredRegistry {
        let store = self.store().await;
        let (registry, _) = store.load_registry().await.unwrap();
        store.close().await;
        registry
    }

    /// Events of administration, newest first.
    async fn events(&self) -> Vec<AuditEvent> {
        let store = self.store().await;
        let filter = EventFilter { limit: 100, ..EventFilter::default() };
        let mut events = store.list_events(&filter).await.unwrap();
        store.close().await;
        events.retain(|event| event.kind == EventKind::Administration);
        events
    }
}

#[tokio::test]
async fn apply_tells_what_it_changed_and_a_second_time_changes_nothing() {
    let desk = Desk::new();
    desk.write("registry.toml", DOCUMENTED);
    let lines = "+ identity provider corp\n+ resource records\n+ resource models\n+ client assistant\n\
                 + client records-backend\n+ policy doctors-use-medical-models\n\
                 + consent for everyone: records-backend at models (model.medical)";
    let dry = desk.run(&["apply", "registry.toml", "--dry-run"]);
    let notes = "identity provider corp: nobody can sign in there unless the server has CORP_SECRET; this command does not\n\
                 dry run: nothing was changed";
    assert_eq!((dry.out.as_str(), dry.err.as_str()), (lines, notes));
    assert_eq!(desk.registry().await.clients.len(), 0);
    assert_eq!(desk.ok(&["apply", "registry.toml"]), lines);
    assert_eq!(desk.ok(&["apply", "registry.toml"]), "nothing to change");
    assert_eq!(desk.json(&["apply", "registry.toml", "--prune"]), json!({ "dry_run": false, "changes": [] }));

    let events = desk.events().await;
    assert_eq!(events.len(), 1, "one application, one event");
    assert_eq!(events[0].detail.as_deref(), Some(lines));
    assert!(events[0].request_id.starts_with("adm_"), "{}", events[0].request_id);
}

#[tokio::test]
async fn a_file_with_mistakes_changes_nothing_and_every_mistake_is_told() {
    let desk = Desk::new();
    let text = DOCUMENTED.replace("may_exchange_to = [\"models\"]", "may_exchange_to = [\"modles\"]");
    desk.write("registry.toml", &text.replace("\"records.delete\"]", "\"records.delet\"]"));
    insta::assert_snapshot!(desk.refused(&["apply", "registry.toml"]), @r#"
    procura: registry.toml:23: resource records: no resource modles is registered; did you mean `models`?
    registry.toml:46: client assistant: resource records has no scope records.delet; did you mean `records.delete`?
    "#);
    assert_eq!(
        desk.refused(&["apply", "absent.toml"]),
        "procura: absent.toml: cannot be read: No such file or directory (os error 2)"
    );
    let registry = desk.registry().await;
    assert!(registry.clients.is_empty() && registry.resources.is_empty());
    assert!(desk.events().await.is_empty());
}

#[test]
fn the_export_of_one_registry_makes_the_same_registry_elsewhere() {
    let desk = Desk::furnished();
    let exported = desk.ok(&["export"]);
    let copy = Desk::new();
    let mut apply = copy.command(&["apply", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    apply.stdin.take().unwrap().write_all(exported.as_bytes()).unwrap();
    assert!(apply.wait_with_output().unwrap().status.success());
    assert_eq!(copy.ok(&["export"]), exported);
    copy.write("exported.toml", &exported);
    assert_eq!(copy.ok(&["apply", "exported.toml", "--prune"]), "nothing to change");
    assert_eq!(copy.json(&["export"])["client"][0]["id"], "assistant");
}

#[tokio::test]
async fn prune_removes_what_the_file_lacks_and_ends_its_consents() {
    let desk = Desk::furnished();
    desk.write("empty.toml", "");
    assert_eq!(desk.ok(&["apply", "empty.toml"]), "nothing to change");
    let lines = desk.ok(&["apply", "empty.toml", "--prune"]);
    assert_eq!(lines.lines().count(), 6, "{lines}");
    assert!(lines.lines().all(|line| line.starts_with("- ")), "{lines}");
    assert!(desk.registry().await.clients.is_empty());
    assert_eq!(desk.json(&["consent", "list"]), json!([]));
}

#[tokio::test]
async fn a_client_is_added_by_arguments_and_its_secret_is_shown_once() {
    let desk = Desk::furnished();
    let arguments = ["client", "add", "agent", "--name", "Agent", "--authentication", "client_secret_post"];
    let more = ["--grant", "token_exchange", "client_credentials", "--resource", "records:records.read"];
    let credentials = desk.json(&[&arguments[..], &more, &["--consent", "admin"]].concat());
    let members: Vec<&String> = credentials.as_object().unwrap().keys().collect();
    assert_eq!(members, ["client_id", "client_secret"]);
    assert_eq!(credentials["client_id"], "agent");
    let secret = credentials["client_secret"].as_str().unwrap();

    let registry = desk.registry().await;
    assert!(verify_client_secret(&registry.secrets[0].hash, secret));
    let consents = desk.json(&["consent", "list", "--client", "agent"]);
    assert_eq!((&consents[0]["user"], &consents[0]["source"]), (&Value::Null, &json!("admin")));

    let shown = desk.ok(&["client", "show", "agent"]);
    assert!(shown.contains("name = \"Agent\"") && shown.contains("last used never"), "{shown}");
    assert!(!desk.ok(&["client", "show", "agent", "--json"]).contains("argon2id"));
    assert!(!desk.ok(&["export"]).contains(secret));
    let event = &desk.events().await[0];
    let detail = event.detail.as_deref().unwrap();
    assert!(
        detail.starts_with("+ client agent\n+ consent for everyone: agent at records (records.read)\n+ secret sec_")
    );
    assert!(!detail.contains(secret));
    assert_eq!(event.client.as_ref().map(ToString::to_string).as_deref(), Some("agent"));

    let again = desk.refused(&arguments);
    assert_eq!(again, "procura: client agent is already registered; procura apply changes it");
}

#[tokio::test]
async fn two_secrets_of_a_client_work_at_a_time() {
    let desk = Desk::furnished();
    assert!(desk.registry().await.secrets.is_empty(), "apply makes no secret");
    let secrets: Vec<String> = (0..3)
        .map(|_| desk.json(&["client", "rotate-secret", "assistant"])["client_secret"].as_str().unwrap().to_owned())
        .collect();
    let stored = desk.registry().await.secrets;
    let works = |secret: &str| stored.iter().any(|stored| verify_client_secret(&stored.hash, secret));
    assert_eq!(secrets.iter().map(|secret| works(secret)).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(
        desk.refused(&["client", "rotate-secret", "records-backend"]),
        "procura: client records-backend has no secret: its authentication is private_key_jwt"
    );
}

#[test]
fn an_unknown_id_is_told_with_the_nearest_known_one() {
    let desk = Desk::furnished();
    for (arguments, told) in [
        (&["client", "show", "asistant"][..], "no client asistant is registered; did you mean `assistant`?"),
        (&["resource", "show", "recrods"], "no resource recrods is registered; did you mean `records`?"),
        (&["idp", "remove", "crop"], "no identity provider crop is registered; did you mean `corp`?"),
        (&["policy", "show", "x"], "no policy x is registered; known: doctors-use-medical-models"),
        (&["consent", "revoke", "con_x"], "there is no consent con_x"),
        (&["user", "resume", "corp|alice"], "user corp|alice is not suspended; there is none"),
    ] {
        assert_eq!(desk.refused(arguments), format!("procura: {told}"));
    }
}

#[test]
fn what_is_still_referred_to_is_not_removed() {
    let desk = Desk::furnished();
    assert_eq!(
        desk.refused(&["client", "remove", "assistant"]),
        "procura: client assistant is still referred to by identity provider corp (subject_token)"
    );
    assert_eq!(
        desk.refused(&["resource", "remove", "models"]),
        "procura: resource models is still referred to by client records-backend (resources), \
         resource records (may_exchange_to), policy doctors-use-medical-models"
    );
    assert_eq!(desk.ok(&["idp", "remove", "corp"]), "- identity provider corp");
    assert_eq!(desk.ok(&["client", "remove", "assistant"]), "- client assistant");
    assert_eq!(desk.ok(&["policy", "remove", "doctors-use-medical-models"]), "- policy doctors-use-medical-models");
}

#[test]
fn each_kind_is_added_by_arguments_or_by_a_file_of_one_and_checked_as_apply_does() {
    let desk = Desk::new();
    let added = desk.ok(&[
        "resource",
        "add",
        "notes",
        "--audience",
        "https://notes.example.com",
        "--scope",
        "notes.read=read=See your notes",
        "notes.write=write=Write notes, a=b",
    ]);
    assert_eq!(added, "+ resource notes");
    desk.ok(&["client", "add", "agent", "--resource", "notes:notes.read", "--resource", "notes:notes.write"]);
    assert_eq!(desk.json(&["client", "show", "agent"])["resources"], json!({ "notes": ["notes.read", "notes.write"] }));
    let idp = ["idp", "add", "corp", "--issuer", "https://idp.example.com", "--roles", "/roles"];
    assert_eq!(desk.ok(&[&idp[..], &["--audience", "app", "--client", "agent"]].concat()), "+ identity provider corp");
    desk.write("own.cedar", "forbid(principal, action, resource)\nunless { context.depth < 3 };\n");
    assert_eq!(desk.ok(&["policy", "add", "depth", "--file", "own.cedar"]), "+ policy depth");
    desk.write("second.toml", "[[resource]]\nid = 'second'\naudience = 'https://second.example'\nname = 'Second'");
    assert_eq!(desk.ok(&["resource", "add", "--file", "second.toml"]), "+ resource second");

    assert_eq!(desk.json(&["idp", "show", "corp"])["subject_token"][0]["clients"], json!(["agent"]));
    assert_eq!(desk.json(&["resource", "list"])[0]["scope"][0]["access"], "read");
    assert_eq!(
        desk.ok(&["policy", "show", "depth"]),
        "forbid(principal, action, resource)\nunless { context.depth < 3 };"
    );
    let listed = desk.ok(&["client", "list"]);
    assert!(
        listed.lines().nth(1).unwrap().starts_with("agent  agent  client_secret_basic  user     notes"),
        "{listed}"
    );

    assert_eq!(
        desk.refused(&["client", "add", "other", "--resource", "notes:notes.raed"]),
        "procura: command line: client other: resource notes has no scope notes.raed; did you mean `notes.read`?"
    );
    assert_eq!(
        desk.refused(&["client", "add", "open", "--authentication", "none"]),
        "procura: command line: client open: authentication = \"none\" cannot be with the grant token_exchange"
    );
    let refused =
        desk.refused(&["policy", "add", "wrong", "--cedar", "permit(principal, action, resource) when { x };"]);
    assert!(refused.starts_with("procura: command line, line 1: policy wrong: "), "{refused}");
    desk.write("two.toml", DOCUMENTED);
    assert_eq!(
        desk.refused(&["client", "add", "--file", "two.toml"]),
        "procura: two.toml: must declare one client and nothing else; procura apply takes any"
    );
}

#[tokio::test]
async fn clients_and_users_are_suspended_and_resumed() {
    let desk = Desk::furnished();
    assert_eq!(desk.ok(&["client", "suspend", "assistant"]), "~ client assistant: suspended");
    assert_eq!(desk.ok(&["client", "suspend", "assistant"]), "nothing to change");
    assert!(desk.json(&["client", "show", "assistant"])["suspended_at"].is_i64());
    assert_eq!(desk.ok(&["apply", "registry.toml"]), "nothing to change", "a suspension is not the file's to end");
    assert_eq!(desk.ok(&["client", "resume", "assistant"]), "~ client assistant: resumed");
    assert!(desk.json(&["client", "show", "assistant"])["suspended_at"].is_null());

    assert_eq!(desk.ok(&["user", "suspend", "corp|mallory"]), "~ user corp|mallory: suspended");
    assert_eq!(desk.json(&["user", "list", "--suspended"])[0]["id"], "corp|mallory");
    assert_eq!(
        desk.refused(&["user", "resume", "corp|malory"]),
        "procura: user corp|malory is not suspended; did you mean `corp|mallory`?"
    );
    assert_eq!(desk.ok(&["user", "resume", "corp|mallory"]), "~ user corp|mallory: resumed");
    assert_eq!(desk.json(&["user", "list", "--suspended"]), json!([]));
    assert_eq!(desk.events().await.len(), 5, "each change has its event, and what changes nothing has none");
}

#[tokio::test]
async fn what_an_administrator_does_to_a_user_is_recorded_as_about_that_user() {
    let desk = Desk::furnished();
    let grant =
        ["consent", "grant", "--user", "corp|alice", "--client", "assistant", "--resource", "records", "--scope"];
    let id = desk.json(&[&grant[..], &["records.read"]].concat())["id"].as_str().unwrap().to_owned();
    desk.ok(&["consent", "revoke", &id]);
    desk.ok(&["user", "suspend", "corp|alice"]);
    desk.ok(&["user", "resume", "corp|alice"]);
    let told: Vec<(String, Option<String>, Option<String>)> = desk
        .events()
        .await
        .into_iter()
        .filter(|event| event.subject_sub() == Some("corp|alice"))
        .map(|event| (event.reason.clone(), event.client.map(String::from), event.resource.map(String::from)))
        .collect();
    let (client, resource) = (Some("assistant".to_owned()), Some("records".to_owned()));
    let expected = [
        ("user_resumed".to_owned(), None, None),
        ("user_suspended".to_owned(), None, None),
        ("consent_revoked".to_owned(), client.clone(), resource.clone()),
        ("consent_given".to_owned(), client, resource),
    ];
    assert_eq!(told, expected);
    // What is about several, or about nobody, is about no user.
    assert!(desk.events().await.iter().any(|event| event.subject.is_none() && event.reason == "administration"));
}

#[test]
fn a_consent_is_recorded_replaced_and_taken_back() {
    let desk = Desk::furnished();
    let grant =
        ["consent", "grant", "--user", "corp|alice", "--client", "assistant", "--resource", "records", "--scope"];
    let first = desk.json(&[&grant[..], &["records.read", "records.delete", "--expires-in", "3600"]].concat());
    assert_eq!(first["scopes"], json!(["records.delete", "records.read"]));
    assert_eq!(first["expires_at"].as_i64().unwrap() - first["granted_at"].as_i64().unwrap(), 3600);
    let second = desk.json(&[&grant[..], &["records.read"]].concat());
    let of_alice = ["consent", "list", "--user", "corp|alice"];
    let live = desk.json(&of_alice);
    assert_eq!((live.as_array().unwrap().len(), &live[0]["id"]), (1, &second["id"]));
    let id = second["id"].as_str().unwrap();
    let told = "- consent of corp|alice: assistant at records (records.read)";
    assert_eq!(
        desk.ok(&["consent", "revoke", id, "--preview"]),
        format!("{told}\nwould end with it: 0 sign-ins, 0 live tokens, 0 of later hops")
    );
    assert_eq!(desk.json(&of_alice)[0]["live"], true, "a preview ends nothing");
    assert_eq!(
        desk.ok(&["consent", "revoke", id]),
        format!("{told}\nended with it: 0 sign-ins, 0 live tokens, 0 of later hops")
    );
    assert_eq!(desk.ok(&["consent", "revoke", id]), "nothing to change");
    assert_eq!(desk.json(&of_alice), json!([]));
    let all = desk.json(&[&of_alice[..], &["--all"]].concat());
    assert_eq!(all.as_array().unwrap().iter().map(|one| &one["live"]).collect::<Vec<_>>(), [false, false]);

    assert_eq!(
        desk.refused(&[&grant[..], &["records.raed"]].concat()),
        "procura: client assistant can never have records.raed at records; did you mean `records.read`?"
    );
    let stranger = ["consent", "grant", "--user", "alice", "--client", "assistant", "--resource", "records"];
    assert_eq!(
        desk.refused(&[&stranger[..], &["--scope", "records.read"]].concat()),
        "procura: no identity provider has users such as alice; theirs begin with corp|"
    );
}

#[test]
fn wrong_usage_ends_with_2_and_a_mistake_in_the_configuration_with_1() {
    let desk = Desk::new();
    for arguments in [&["client"][..], &["apply"], &["client", "add"], &["client", "show", "a b"], &["nonsense"]] {
        assert_eq!(desk.run(arguments).code, 2, "{arguments:?}");
    }
    let usage = desk.run(&["client", "add", "a", "--grant", "token_exchang"]);
    assert_eq!(usage.code, 2);
    assert!(usage.err.contains("expected one of `token_exchange`"), "{}", usage.err);
    desk.write("procura.toml", "isuer = 'https://auth.example.com'");
    assert_eq!(
        desk.refused(&["client", "list"]),
        "procura: procura.toml:1: unknown key `isuer`; did you mean `issuer`?"
    );
    assert!(!desk.path("procura.db").exists());
}

#[test]
fn migrate_tells_what_is_pending_and_what_it_applied() {
    let desk = Desk::new();
    let pending = desk.run(&["migrate", "--check"]);
    assert_eq!((pending.code, pending.err.as_str()), (1, "procura: the schema is not up to date: run procura migrate"));
    assert!(pending.out.starts_with("pending "), "{}", pending.out);
    let applied = desk.ok(&["migrate"]);
    assert_eq!(applied, pending.out.replace("pending ", "applied "));
    assert_eq!(desk.ok(&["migrate", "--check"]), "the schema is up to date");
    assert_eq!(desk.json(&["migrate"]), json!({ "applied": [] }));
}

#[tokio::test]
async fn on_postgres_only_migrate_changes_the_schema() {
    let desk = Desk::new();
    let url = crate::postgres::database().await;
    desk.write("registry.toml", DOCUMENTED);
    desk.write("procura.toml", &format!("secrets_key = '{}='\ndatabase_url = '{url}'", "A".repeat(43)));
    let refused = desk.refused(&["apply", "registry.toml"]);
    assert!(refused.starts_with("procura: the database lacks migration "), "{refused}");
    assert!(refused.ends_with(": run procura migrate"), "{refused}");
    desk.ok(&["migrate"]);
    assert_eq!(desk.ok(&["apply", "registry.toml"]).lines().count(), 7);
    assert_eq!(desk.ok(&["apply", "registry.toml"]), "nothing to change");
    assert!(desk.json(&["client", "rotate-secret", "assistant"])["client_secret"].is_string());
    let names: Vec<String> = fs::read_dir(desk.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "the key came from the configuration and no file was made: {names:?}");
}

#[test]
fn another_secrets_key_is_refused_before_it_does_damage() {
    let desk = Desk::furnished();
    desk.ok(&["client", "rotate-secret", "assistant"]);
    let before = desk.ok(&["client", "show", "assistant"]);
    let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for command in [&["client", "rotate-secret", "assistant"][..], &["keys", "rotate"], &["serve"]] {
        let output = desk.command(command).env("PROCURA_SECRETS_KEY", other).output().unwrap();
        let ended = Ended::from(output);
        assert_eq!(ended.code, 1, "{command:?}: {}", ended.err);
        assert!(ended.err.contains("not the one that the database was made with"), "{}", ended.err);
    }
    fs::remove_file(desk.path("procura.db.secrets_key")).unwrap();
    let ended = Ended::from(desk.command(&["client", "rotate-secret", "assistant"]).output().unwrap());
    assert!(ended.err.contains("is missing, and what the database holds was made with it"), "{}", ended.err);
    assert!(!desk.path("procura.db.secrets_key").exists(), "no new key is made in its place");
    assert_eq!(desk.ok(&["client", "show", "assistant"]), before);
}

#[test]
fn a_consent_that_a_file_declares_is_not_revoked_behind_the_files_back() {
    let desk = Desk::furnished();
    let listed: Value = serde_json::from_str(&desk.ok(&["consent", "list", "--json"])).unwrap();
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    let ended = desk.run(&["consent", "revoke", &id]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("is declared: client records-backend has consent = \"admin\""), "{}", ended.err);
    assert_eq!(serde_json::from_str::<Value>(&desk.ok(&["consent", "list", "--json"])).unwrap(), listed);
}

#[tokio::test]
async fn a_well_known_client_is_registered_by_its_name_with_the_date_of_what_is_known() {
    let desk = Desk::furnished();
    let ended = desk.run(&["client", "add", "--preset", "claude", "--resource", "records:records.read"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("https://claude.ai/oauth/mcp-oauth-client-metadata"), "{ended:?}");
    assert!(ended.err.contains("Claude, as of 20"), "{ended:?}");
    let shown = desk.json(&["client", "show", "https://claude.ai/oauth/mcp-oauth-client-metadata"]);
    assert_eq!((&shown["assurance"], &shown["authentication"]), (&json!("vetted"), &json!("none")));
    assert_eq!(shown["resources"], json!({"records": ["records.read"]}));
    assert!(shown["redirect_uris"].as_array().unwrap().contains(&json!("https://claude.ai/api/mcp/auth_callback")));
    let cursor = desk.json(&["client", "add", "--preset", "cursor"]);
    let id = cursor["client_id"].as_str().unwrap();
    assert!(id.starts_with("cursor_") && id.len() > 20, "an id that nobody guesses: {id}");
    for preset in ["chatgpt", "codex", "claude-code", "vscode"] {
        desk.ok(&["client", "add", "--preset", preset]);
    }
    desk.ok(&["client", "add", "our-cursor", "--preset", "cursor", "--name", "Cursor of ours"]);
    let refused = desk.refused(&["client", "add", "another", "--preset", "chatgpt"]);
    assert!(refused.contains("ChatGPT has an id of its own: https://chatgpt.com/"), "{refused}");
    let ended = desk.run(&["client", "add", "--preset", "chatgtp"]);
    assert!(ended.code == 2 && ended.err.contains("there are chatgpt, codex"), "{ended:?}");
    let ended = desk.run(&["client", "add", "--preset", "claude", "--redirect-uri", "https://evil.example/"]);
    assert_eq!(ended.code, 2, "{ended:?}");
}

#[tokio::test]
async fn clients_that_registered_themselves_are_listed_shown_suspended_and_removed() {
    let desk = Desk::furnished();
    let store = desk.store().await;
    let client = json!({
        "id": "dcr_1", "name": "Claude\u{202e}", "authentication": "none", "grants": ["authorization_code"],
        "redirect_uris": ["https://app.example/cb"],
    });
    let stored = procura::domain::dynamic_client::DynamicClient {
        client: serde_json::from_value(client).unwrap(),
        assurance: procura::domain::client::Assurance::SelfAsserted,
        other_authentication: Vec::new(),
        metadata: "{}".to_owned(),
        secret_hash: Some("$argon2id$hash".to_owned()),
        registration_token_digest: Some("digest".to_owned()),
        created_at: 1_800_000_000,
        last_used_at: None,
        fetched_at: None,
        fresh_until: None,
        suspended_at: None,
    };
    assert!(store.insert_dynamic_client(&stored).await.unwrap());
    store.close().await;
    assert!(!desk.ok(&["client", "list"]).contains("dcr_1"));
    let listed = desk.ok(&["client", "list", "--registered"]);
    assert!(listed.contains("dcr_1") && listed.contains("self_asserted") && !listed.contains('\u{202e}'), "{listed}");
    let shown = desk.ok(&["client", "show", "dcr_1"]);
    assert!(shown.contains("https://app.example/cb") && !shown.contains("argon2id") && !shown.contains("digest"));
    let shown = desk.ok(&["client", "show", "dcr_1", "--json"]);
    assert!(!shown.contains("argon2id") && !shown.contains("digest"), "{shown}");
    assert_eq!(desk.ok(&["client", "suspend", "dcr_1"]), "~ client dcr_1: suspended");
    assert_eq!(desk.ok(&["client", "suspend", "dcr_1"]), "nothing to change");
    assert!(desk.json(&["client", "show", "dcr_1"])["suspended_at"].is_number());
    assert_eq!(desk.ok(&["client", "resume", "dcr_1"]), "~ client dcr_1: resumed");
    assert!(desk.refused(&["client", "rotate-secret", "dcr_1"]).contains("no client dcr_1 is registered"));
    // What it could get, and an agreement with it on paper: both go by the backends that are open to its kind.
    let check = ["check", "--user", "corp|alice", "--client", "dcr_1", "--resource", "records"];
    assert!(desk.run(&check).out.contains("is not among the resources of client dcr_1"));
    let grant = ["consent", "grant", "--user", "corp|alice", "--client", "dcr_1", "--resource", "records", "--scope"];
    assert!(desk.refused(&[&grant[..], &["records.read"]].concat()).contains("can never have records.read"));
    let open = DOCUMENTED.replacen("[[resource]]", "[[resource]]\nopen_to = [\"self_asserted\"]", 1);
    desk.write("open.toml", &open);
    desk.ok(&["apply", "open.toml"]);
    let asked = desk.run(&check);
    assert!(asked.out.contains("ASKED") && asked.out.contains("by a sign-in at /authorize"), "{asked:?}");
    assert!(!asked.out.contains("consent_uri") && asked.err.contains("the user would be asked"), "{asked:?}");
    desk.json(&[&grant[..], &["records.read"]].concat());
    let granted = desk.ok(&check);
    assert!(granted.contains("GRANTED  dcr_1 may act for corp|alice with: records.read"), "{granted}");
    // A backend that wants a stronger sign-in: what could be granted is what that would give.
    let strong = open.replacen("[[resource]]", "[[resource]]\nacr_values = [\"phr\"]", 1);
    desk.write("strong.toml", &strong);
    desk.ok(&["apply", "strong.toml"]);
    let assumed = desk.run(&check);
    assert!(assumed.out.contains("GRANTED") && assumed.err.contains("signs in with acr phr"), "{assumed:?}");
    assert_eq!(desk.json(&check)["assumed_acr"], "phr");
    // Whoever paused an app lets it go on themselves.
    let store = desk.store().await;
    let consents = store.list_consents(Some("corp|alice"), Some("dcr_1"), true, 0).await.unwrap();
    let pause = [Change::PauseConsent(consents[0].id.clone())];
    let lines = ["~ paused".to_owned()];
    procura::registry_file::commit(&store, &pause, &lines, &consents, None, &Clock::System).await.unwrap();
    store.close().await;
    let refused = desk.refused(&[&grant[..], &["records.read"]].concat());
    assert!(refused.contains("corp|alice paused client dcr_1 at records"), "{refused}");
    let listed = desk.json(&["consent", "list", "--client", "dcr_1"]);
    assert!(listed[0]["paused_at"].is_number() && listed[0]["live"] == false, "{listed}");
    assert_eq!(desk.ok(&["client", "remove", "dcr_1"]), "- client dcr_1");
    assert!(desk.refused(&["client", "remove", "dcr_1"]).contains("no client dcr_1 is registered"));
    assert_eq!(desk.events().await[0].client.as_ref().unwrap().as_str(), "dcr_1");
}
