//! The registry file: what it accepts, how it tells mistakes, what it changes, and that export and apply agree.

use procura::domain::change::Change;
use procura::domain::client::{Assurance, Client, ClientAuthentication, ClientEntry, ConsentMode, GrantType};
use procura::domain::consent::{Consent, ConsentSource, ConsentingUser};
use procura::domain::policy::{PolicyDefault, PolicyText};
use procura::registry_file::{RegistryFile, Server, Source, describe, parse, to_toml};
use procura::store::StoredRegistry;
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

/// The file of the product's documentation, completed.
pub(crate) const DOCUMENTED: &str = include_str!("registry_file.toml");
const NOW: i64 = 1_800_000_000;

/// The server that the files of these tests are for.
const SERVER: Server<'_> = Server { issuer: "https://auth.example.com", policy_default: PolicyDefault::Permit };

fn source(text: &str) -> Source {
    Source { name: "registry.toml".to_owned(), text: text.to_owned(), directory: PathBuf::new() }
}

/// Every problem that applying this text to an empty registry tells, one a line.
fn problems(text: &str) -> String {
    let checked = parse(&[source(text)]).and_then(|file| file.check(&StoredRegistry::default(), false, SERVER));
    let problems = checked.expect_err("the file has a mistake");
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn read(text: &str) -> RegistryFile {
    let file = parse(&[source(text)]).unwrap();
    file.check(&StoredRegistry::default(), false, SERVER).unwrap();
    file
}

/// The registry after the changes, as a store would have it.
fn changed(mut registry: StoredRegistry, consents: &mut Vec<Consent>, changes: Vec<Change>) -> StoredRegistry {
    for change in changes {
        match change {
            Change::PutIdentityProvider(idp) => {
                registry.identity_providers.retain(|other| other.id != idp.id);
                registry.identity_providers.push(idp);
            }
            Change::RemoveIdentityProvider(id) => registry.identity_providers.retain(|other| other.id != id),
            Change::PutResource(resource) => {
                registry.resources.retain(|other| other.id != resource.id);
                registry.resources.push(resource);
            }
            Change::RemoveResource(id) => {
                registry.resources.retain(|other| other.id != id);
                consents.retain(|consent| consent.resource != id);
            }
            Change::PutClient(client, assurance) => {
                registry.clients.retain(|other| other.client.id != client.id);
                registry.clients.push(ClientEntry {
                    client,
                    assurance,
                    suspended_at: None,
                    other_authentication: Vec::new(),
                });
            }
            Change::RemoveClient(id) => {
                registry.clients.retain(|other| other.client.id != id);
                consents.retain(|consent| consent.client != id);
            }
            Change::PutPolicy(policy) => {
                registry.policies.retain(|other| other.id != policy.id);
                registry.policies.push(policy);
            }
            Change::RemovePolicy(id) => registry.policies.retain(|other| other.id != id),
            Change::GrantConsent(consent) => consents.push(consent),
            Change::RevokeConsent(id) => consents.retain(|consent| consent.id != id),
            other @ (Change::SuspendClient(_)
            | Change::ResumeClient(_)
            | Change::AddSecret(_)
            | Change::SuspendUser(_)
            | Change::ResumeUser(_)
            | Change::RevokeAll { .. }
            | Change::NarrowConsent { .. }
            | Change::ShortenConsent { .. }
            | Change::PauseConsent(_)
            | Change::ResumeConsent(_)
            | Change::AnswerConsentRequest { .. }) => panic!("a file makes no {other:?}"),
        }
    }
    registry.identity_providers.sort_by(|a, b| a.id.cmp(&b.id));
    registry.resources.sort_by(|a, b| a.id.cmp(&b.id));
    registry.clients.sort_by(|a, b| a.client.id.cmp(&b.client.id));
    registry.policies.sort_by(|a, b| a.id.cmp(&b.id));
    registry
}

/// Applies the text, and returns what was told.
fn apply(registry: &mut StoredRegistry, consents: &mut Vec<Consent>, text: &str, prune: bool) -> Vec<String> {
    let file = parse(&[source(text)]).unwrap();
    file.check(registry, prune, SERVER).unwrap();
    let changes = file.changes(registry, prune, consents, NOW);
    let lines = describe(&changes, registry, consents);
    *registry = changed(std::mem::take(registry), consents, changes);
    lines
}

#[test]
fn the_documented_file_is_accepted_and_a_second_time_changes_nothing() {
    let (mut registry, mut consents) = (StoredRegistry::default(), Vec::new());
    assert_eq!(
        apply(&mut registry, &mut consents, DOCUMENTED, false),
        [
            "+ identity provider corp",
            "+ resource records",
            "+ resource models",
            "+ client assistant",
            "+ client records-backend",
            "+ policy doctors-use-medical-models",
            "+ consent for everyone: records-backend at models (model.medical)",
        ]
    );
    assert_eq!(apply(&mut registry, &mut consents, DOCUMENTED, false), [""; 0]);
    assert_eq!(apply(&mut registry, &mut consents, DOCUMENTED, true), [""; 0]);
}

#[test]
fn what_differs_is_told_by_key_with_both_values() {
    let (mut registry, mut consents) = (StoredRegistry::default(), Vec::new());
    apply(&mut registry, &mut consents, DOCUMENTED, false);
    let text = DOCUMENTED
        .replace("token_lifetime_seconds = 300", "token_lifetime_seconds = 600")
        .replace("\"See your health records\"", "\"See your records\"")
        .replace("name = \"Acme Assistant\"", "name = \"Acme\"")
        .replace("roles = [\"doctor\"]", "roles = [\"doctor\", \"nurse\"]");
    assert_eq!(
        apply(&mut registry, &mut consents, &text, false),
        [
            "~ resource records: scope.records.delete.roles [\"doctor\"] -> [\"doctor\",\"nurse\"]; \
             scope.records.read.description \"See your health records\" -> \"See your records\"; \
             token_lifetime_seconds 300 -> 600",
            "~ client assistant: name \"Acme Assistant\" -> \"Acme\"",
        ]
    );
}

#[test]
fn what_is_not_declared_stays_unless_it_is_pruned() {
    let (mut registry, mut consents) = (StoredRegistry::default(), Vec::new());
    apply(&mut registry, &mut consents, DOCUMENTED, false);
    assert_eq!(apply(&mut registry, &mut consents, "", false), [""; 0]);
    let of_itself = Client {
        id: "https://app.example/client.json".parse().unwrap(),
        name: "App".to_owned(),
        authentication: ClientAuthentication::None,
        jwks_uri: None,
        jwks: None,
        grants: vec![GrantType::RefreshToken],
        redirect_uris: Vec::new(),
        consent: ConsentMode::User,
        may_act_for: Vec::new(),
        may_present: Vec::new(),
        resources: std::collections::BTreeMap::new(),
        default_resource: None,
    };
    let entry = ClientEntry {
        client: of_itself,
        assurance: Assurance::Domain,
        suspended_at: None,
        other_authentication: Vec::new(),
    };
    registry.clients.push(entry);
    assert_eq!(
        apply(&mut registry, &mut consents, "", true),
        [
            "- policy doctors-use-medical-models",
            "- client assistant",
            "- client records-backend",
            "- resource models",
            "- resource records",
            "- identity provider corp",
        ]
    );
    assert_eq!(registry.clients.len(), 1, "a client that registered itself is not pruned");
    assert_eq!(consents, []);
}

#[test]
fn a_file_that_refers_to_what_is_registered_already_needs_no_copy_of_it() {
    let (mut registry, mut consents) = (StoredRegistry::default(), Vec::new());
    apply(&mut registry, &mut consents, DOCUMENTED, false);
    let text = "[[client]]\nid = 'second'\nname = 'Second'\nauthentication = 'client_secret_post'\n\
                grants = ['token_exchange']\n[client.resources]\nrecords = ['records.read']";
    let file = parse(&[source(text)]).unwrap();
    assert!(file.check(&registry, false, SERVER).is_ok());
    let problem = file.check(&registry, true, SERVER).unwrap_err();
    assert_eq!(
        problem[0].to_string(),
        "registry.toml:7: client second: no resource records is registered; there is none"
    );
}

#[test]
fn a_change_that_breaks_what_is_registered_is_refused() {
    let (mut registry, mut consents) = (StoredRegistry::default(), Vec::new());
    apply(&mut registry, &mut consents, DOCUMENTED, false);
    let text = "[[resource]]\nid = 'records'\naudience = 'https://records.example.com/api'\nname = 'Records'";
    let problem = parse(&[source(text)]).unwrap().check(&registry, false, SERVER).unwrap_err();
    let problem: Vec<String> = problem.iter().map(ToString::to_string).collect();
    assert_eq!(
        problem,
        [
            "registry: client assistant: resource records has no scope records.delete; there is none",
            "registry: client assistant: resource records has no scope records.read; there is none",
        ]
    );
}

#[test]
fn an_admin_consent_follows_the_ceiling() {
    let client = |consent: &str, scopes: &str| {
        format!(
            "[[resource]]\nid = 'r'\naudience = 'https://r.example'\nname = 'R'\n\
             scope = [{{ name = 'a', description = 'A', access = 'read' }}, {{ name = 'b', description = 'B', access = 'read' }}]\n\
             [[client]]\nid = 'c'\nname = 'C'\nauthentication = 'client_secret_basic'\ngrants = ['token_exchange']\n\
             consent = '{consent}'\n[client.resources]\nr = [{scopes}]"
        )
    };
    let (mut registry, mut consents) = (StoredRegistry::default(), Vec::new());
    let lines = apply(&mut registry, &mut consents, &client("admin", "'a'"), false);
    assert_eq!(lines[2], "+ consent for everyone: c at r (a)");
    assert_eq!((consents.len(), consents[0].source), (1, ConsentSource::Admin));
    assert_eq!(
        apply(&mut registry, &mut consents, &client("admin", "'a', 'b'"), false)[1..],
        ["- consent for everyone: c at r (a)", "+ consent for everyone: c at r (a b)"]
    );
    // One too many, as after two applications at once.
    let mut twin = consents[0].clone();
    twin.id = "con_twin".to_owned();
    consents.push(twin);
    // A user's own consent is not the file's to touch.
    let mut own = consents[0].clone();
    own.id = "con_own".to_owned();
    own.user = ConsentingUser::One("corp|alice".parse().unwrap());
    consents.push(own);
    assert_eq!(
        apply(&mut registry, &mut consents, &client("admin", "'a', 'b'"), false),
        ["- consent for everyone: c at r (a b)"]
    );
    assert_eq!(
        apply(&mut registry, &mut consents, &client("user", "'a', 'b'"), false)[1..],
        ["- consent for everyone: c at r (a b)"]
    );
    assert_eq!(consents.iter().map(|consent| consent.id.as_str()).collect::<Vec<_>>(), ["con_own"]);
    assert_eq!(apply(&mut registry, &mut consents, &client("user", "'a', 'b'"), false), [""; 0]);
}

#[test]
fn every_mistake_of_shape_is_told_at_once_with_its_line() {
    let text = "\
[[client]]
id = 'a'
nmae = 'A'
authentication = 'client_secret_basik'
grants = ['token_exchange', 'token_exchang']
consent = 5

[[clients]]
id = 'b'

[[resource]]
id = 'Records'
audience = 'records'
name = 'R'
token_lifetime_seconds = '300'

[[client]]
id = 'a'

[[client]]
id = 'mtls'
name = 'M'
authentication = 'tls_client_auth'
grants = []

[client.resources]
records = 'all'
";
    insta::assert_snapshot!(problems(text), @r#"
    registry.toml:1: client a lacks `name`
    registry.toml:3: unknown key `nmae` of client a; did you mean `name`?
    registry.toml:4: `authentication` of client a: unknown value `client_secret_basik`, expected one of `client_secret_basic`, `client_secret_post`, `private_key_jwt`, `none`; did you mean `client_secret_basic`?
    registry.toml:5: `grants` of client a: unknown value `token_exchang`, expected one of `token_exchange`, `client_credentials`, `authorization_code`, `refresh_token`; did you mean `token_exchange`?
    registry.toml:6: `consent` of client a: expected a text
    registry.toml:8: unknown key `clients`; did you mean `client`?
    registry.toml:12: `id` of resource Records: resource id may hold only a-z, 0-9, '-', '_' and '.', and starts with a letter or digit
    registry.toml:13: `audience` of resource Records: is not an absolute URI
    registry.toml:15: `token_lifetime_seconds` of resource Records: invalid type: string "300", expected a whole number
    registry.toml:17: client a is declared twice; first at registry.toml:1
    registry.toml:23: `authentication` of client mtls: tls_client_auth is not supported by this version
    registry.toml:27: `resources` of client mtls: invalid type: string "all", expected an array
    "#);
}

#[test]
fn a_file_that_is_no_toml_is_told_with_its_line() {
    assert!(problems("[[client]]\nid = \n").starts_with("registry.toml:2: "), "{}", problems("[[client]]\nid = \n"));
}

#[test]
fn every_mistake_of_meaning_is_told_at_once_with_its_line() {
    let text = "\
[[identity_provider]]
id = 'a'
issuer = 'http://idp.example'
name = ''
algorithms = []
subject_prefix = 'x|'
claims = { roles = 'roles' }
login = { client_id = 'p', client_secret_env = 'my-secret!', scopes = ['email'] }
[[identity_provider.subject_token]]
type = 'id_token'
audiences = []
clients = []

[[identity_provider]]
id = 'b'
issuer = 'http://127.0.0.1:9000'
name = 'B'

[[resource]]
id = 'r'
audience = 'https://r.example'
name = 'R'
token_lifetime_seconds = 7200
connector_token_lifetime_seconds = 300
[[resource.scope]]
name = 's'
description = 'S'
access = 'read'
roles = ['doctor']
policy = 'explicit'
[[resource.scope]]
name = 's'
description = 'S'
access = 'read'

[[client]]
id = 'public'
name = 'P'
authentication = 'none'
grants = ['token_exchange', 'authorization_code']

[[client]]
id = 'keys'
name = 'K'
authentication = 'private_key_jwt'
grants = ['client_credentials']
redirect_uris = ['https://a.example/#x']

[[client]]
id = 'secret'
name = 'S'
authentication = 'client_secret_basic'
jwks = { keys = [{ kty = 'OKP' }] }
grants = ['client_credentials']
may_act_for = ['secret']

[[policy]]
id = 'both'
cedar = 'x'
file = 'x.cedar'
";
    insta::assert_snapshot!(problems(text), @r#"
    registry.toml:3: identity provider a: `issuer` must use https
    registry.toml:4: identity provider a: `name` is empty
    registry.toml:5: identity provider a: `algorithms` is empty: no token would be accepted
    registry.toml:7: identity provider a: `claims.roles` is not a JSON pointer such as /roles (RFC 6901)
    registry.toml:8: identity provider a: `login.client_secret_env` is the name of a variable, not the secret itself
    registry.toml:8: identity provider a: `login.scopes` lacks openid (OpenID Connect Core section 3.1.2.1)
    registry.toml:11: identity provider a: `audiences` is empty: no token would be accepted
    registry.toml:16: identity provider b: `issuer` must use https; http on loopback needs allow_private_addresses = true
    registry.toml:23: resource r: `token_lifetime_seconds` is from 60 to 3600, and not 7200
    registry.toml:24: resource r: `connector_token_lifetime_seconds` is from 900 to 3600, and not 300
    registry.toml:30: resource r: scope s has both `roles` and `policy`: a policy can test roles
    registry.toml:31: resource r: scope s is there twice
    registry.toml:40: client public: authentication = "none" cannot be with the grant token_exchange
    registry.toml:40: client public: the grant authorization_code needs `redirect_uris`
    registry.toml:45: client keys: private_key_jwt needs `jwks` or `jwks_uri`
    registry.toml:47: client keys: redirect URI "https://a.example/#x" has a fragment
    registry.toml:52: client secret: `jwks` and `jwks_uri` are for authentication = "private_key_jwt" only
    registry.toml:55: client secret: `may_act_for` names the client itself
    registry.toml:57: policy both needs `cedar` or `file`, one of them
    "#);
}

#[test]
fn every_mistake_of_reference_is_told_at_once_with_its_line() {
    let text = "\
[[identity_provider]]
id = 'a'
issuer = 'https://idp.example'
name = 'A'
subject_prefix = 'corp'
[[identity_provider.subject_token]]
type = 'id_token'
audiences = ['x']
clients = [
  'corp-agent',
  'agnet',
]

[[identity_provider]]
id = 'b'
issuer = 'https://idp.example'
name = 'B'
subject_prefix = 'corp|'

[[identity_provider]]
id = 'c'
issuer = 'https://c.example'
name = 'C'
subject_prefix = ''

[[resource]]
id = 'records'
audience = 'https://r.example'
name = 'R'
default = true
may_exchange_to = ['modles']
clients = ['nobody']
[[resource.scope]]
name = 'records.read'
description = 'S'
access = 'read'

[[resource]]
id = 'models'
audience = 'HTTPS://R.example:443/'
name = 'M'
default = true

[[client]]
id = 'corp-agent'
name = 'A'
authentication = 'client_secret_basic'
grants = ['token_exchange']
may_act_for = ['agnet']
may_present = ['agnet']
[client.resources]
recrods = []
records = ['records.raed']

[[policy]]
id = 'inline'
cedar = '''
permit(principal, action, resource)
when { principal.rolls.contains(\"x\") };
'''

[[policy]]
id = 'one-line'
cedar = \"permit(principal,\\n\\n action, resource);\\nnonsense\"
";
    insta::assert_snapshot!(problems(text), @r#"
    registry.toml:11: identity provider a: no client agnet is registered; known: corp-agent
    registry.toml:16: identity provider b: `issuer` is also that of identity provider a
    registry.toml:18: identity provider b: `subject_prefix` "corp|" begins like "corp" of identity provider a
    registry.toml:24: identity provider c: `subject_prefix` is "", which only a sole provider may have
    registry.toml:31: resource records: no resource modles is registered; did you mean `models`?
    registry.toml:32: resource records: no client nobody is registered; known: corp-agent
    registry.toml:40: resource models: `audience` is also that of resource records
    registry.toml:42: resource models: `default` is also true of resource records
    registry.toml:45: client corp-agent: its id begins with "corp", as the users of identity provider a do
    registry.toml:49: client corp-agent: no client agnet is registered; known: corp-agent
    registry.toml:50: client corp-agent: no client agnet is registered; known: corp-agent
    registry.toml:52: client corp-agent: no resource recrods is registered; did you mean `records`?
    registry.toml:53: client corp-agent: resource records has no scope records.raed; did you mean `records.read`?
    registry.toml:59: policy inline: for policy `policy0`, attribute `rolls` on entity type `Client` not found; did you mean `roles`?
    registry.toml:59: policy inline: for policy `policy0`, attribute `rolls` on entity type `User` not found; did you mean `roles`?
    registry.toml:64: policy one-line: unexpected end of input; expected `(`
    "#);
}

#[test]
fn a_policy_file_is_read_beside_the_registry_file_and_its_own_line_is_told() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("policies")).unwrap();
    let cedar = "// Doctors.\npermit(principal, action, resource)\nwhen { principal.rolls.contains(\"doctor\") };\n";
    fs::write(directory.path().join("policies/doctors.cedar"), cedar).unwrap();
    let path = directory.path().join("registry.toml");
    fs::write(&path, "[[policy]]\nid = 'doctors'\nfile = 'policies/doctors.cedar'\n").unwrap();
    let file = parse(&[Source::read(&path).unwrap()]).unwrap();
    assert_eq!(file.policies, [PolicyText { id: "doctors".parse().unwrap(), cedar: cedar.to_owned() }]);
    let problem = file.check(&StoredRegistry::default(), false, SERVER).unwrap_err();
    assert!(problem[0].to_string().starts_with("policies/doctors.cedar:3: policy doctors: "), "{}", problem[0]);

    fs::write(&path, "[[policy]]\nid = 'doctors'\nfile = 'policies/absent.cedar'\n").unwrap();
    let problem = parse(&[Source::read(&path).unwrap()]).unwrap_err();
    assert!(
        problem[0]
            .to_string()
            .contains("registry.toml:3: `file` of policy doctors: policies/absent.cedar cannot be read")
    );
}

#[test]
fn several_files_are_one_and_an_id_is_declared_in_one_of_them() {
    let file = |name: &str, text: &str| Source { name: name.to_owned(), ..source(text) };
    let resource = "[[resource]]\nid = 'r'\naudience = 'https://r.example'\nname = 'R'\n";
    let client =
        "[[client]]\nid = 'c'\nname = 'C'\nauthentication = 'client_secret_basic'\ngrants = []\nresources = { r = [] }";
    let both = parse(&[file("a.toml", client), file("b.toml", resource)]).unwrap();
    assert!(both.check(&StoredRegistry::default(), false, SERVER).is_ok());
    let problem = parse(&[file("a.toml", resource), file("b.toml", resource)]).unwrap_err();
    assert_eq!(problem[0].to_string(), "b.toml:1: resource r is declared twice; first at a.toml:1");
}

#[test]
fn a_loopback_provider_needs_leave_and_a_sole_provider_may_have_no_prefix() {
    let text = "[[identity_provider]]\nid = 'demo'\nissuer = 'http://127.0.0.1:9000'\nname = 'Demo'\nsubject_prefix = ''\n\
                allow_private_addresses = true";
    assert_eq!(read(text).identity_providers[0].prefix(), "");
    assert_eq!(
        problems(&text.replace("true", "false")),
        "registry.toml:3: identity provider demo: `issuer` must use https; http on loopback needs allow_private_addresses = true"
    );
}

#[test]
fn the_exported_file_is_applied_without_a_change() {
    let (mut registry, mut consents) = (StoredRegistry::default(), Vec::new());
    apply(&mut registry, &mut consents, DOCUMENTED, false);
    let exported = to_toml(&registry);
    assert_eq!(apply(&mut registry, &mut consents, &exported, true), [""; 0], "{exported}");
    assert_eq!(to_toml(&registry), exported);
    insta::assert_snapshot!(exported, @r#"
    # The registry, as written by `procura export`; `procura apply` reads it.

    [[identity_provider]]
    id = "corp"
    issuer = "https://idp.example.com"
    name = "Example Corp"
    algorithms = ["RS256", "ES256"]
    subject_prefix = "corp|"
    login = { client_id = "procura", client_secret_env = "CORP_SECRET", scopes = ["openid", "email", "profile"] }
    claims = { roles = "/realm_access/roles", groups = "/groups", email = "/email", name = "/name" }
    [[identity_provider.subject_token]]
    type = "id_token"
    audiences = ["llm-app"]
    clients = ["assistant"]
    max_age_seconds = 3600
    scope = "limits"

    [[resource]]
    id = "models"
    audience = "https://models.example.com/api"
    name = "Models"
    token_lifetime_seconds = 300
    connector_token_lifetime_seconds = 900
    signing_algorithm = "ES256"
    [[resource.scope]]
    name = "model.medical"
    description = "Ask the medical model"
    access = "read"
    policy = "explicit"

    [[resource]]
    id = "records"
    audience = "https://records.example.com/api"
    name = "Health records"
    token_lifetime_seconds = 300
    connector_token_lifetime_seconds = 900
    signing_algorithm = "ES256"
    release_claims = ["roles"]
    may_exchange_to = ["models"]
    clients = ["records-backend"]
    [[resource.scope]]
    name = "records.read"
    description = "See your health records"
    access = "read"
    [[resource.scope]]
    name = "records.delete"
    description = "Delete a health record"
    access = "destructive"
    roles = ["doctor"]

    [[client]]
    id = "assistant"
    name = "Acme Assistant"
    authentication = "client_secret_basic"
    grants = ["token_exchange", "authorization_code", "refresh_token", "client_credentials"]
    redirect_uris = ["https://assistant.example.com/callback"]
    consent = "user"
    [client.resources]
    records = ["records.read", "records.delete"]

    [[client]]
    id = "records-backend"
    name = "Health records backend"
    authentication = "private_key_jwt"
    jwks = { keys = [{ crv = "Ed25519", kty = "OKP", use = "sig", x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }] }
    grants = ["token_exchange", "client_credentials"]
    consent = "admin"
    [client.resources]
    models = ["model.medical"]

    [[policy]]
    id = "doctors-use-medical-models"
    cedar = '''permit(principal, action == Action::"use", resource == Scope::"models#model.medical") when { principal.roles.contains("doctor") };'''
    "#);
}

proptest! {
    #[test]
    fn any_registry_survives_export_and_apply(
        text in "[^\\x00-\\x1f\\x7f-\\x9f]{1,40}",
        // None that begins as an id of a registered client does: dcr_, https://.
        sub_prefix in "[ -ce-gi-~][ -~]{0,19}",
        comment in "[^\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\n]{0,40}",
        tail in "[\\t\\n\\r ']{0,4}",
    ) {
        prop_assume!(!text.trim().is_empty() && !text.chars().any(procura::domain::names::is_unseen));
        let mut file = read(DOCUMENTED);
        file.identity_providers[0].name.clone_from(&text);
        file.identity_providers[0].subject_prefix = Some(sub_prefix);
        file.identity_providers[0].subject_tokens[0].required_claims.insert(text.clone(), text.clone());
        file.resources[0].scopes[1].roles.push(text.clone());
        file.resources[1].id = "models.v2".parse().unwrap();
        file.resources[0].may_exchange_to = vec!["models.v2".parse().unwrap()];
        file.clients[1].resources = [("models.v2".parse().unwrap(), vec!["model.medical".parse().unwrap()])].into();
        file.clients[0].name = text;
        file.clients[0].default_resource = Some("records".parse().unwrap());
        file.resources[1].is_default = true;
        file.policies[0].cedar = format!("// {comment}\n{}{tail}\n// end{tail}", file.policies[0].cedar);
        let mut consents = Vec::new();
        let changes = file.changes(&StoredRegistry::default(), false, &consents, NOW);
        let registry = changed(StoredRegistry::default(), &mut consents, changes);
        let exported = to_toml(&registry);
        let again = parse(&[source(&exported)]).map_err(|problems| TestCaseError::fail(format!("{problems:?}\n{exported}")))?;
        prop_assert_eq!(again.changes(&registry, true, &consents, NOW), [], "{}", exported);
    }
}

#[test]
fn an_empty_list_of_roles_is_refused_for_it_would_permit_everybody() {
    let text = "\
[[resource]]
id = 'r'
audience = 'https://r.example'
name = 'R'
[[resource.scope]]
name = 's'
description = 'S'
access = 'destructive'
roles = []
";
    let problem = "registry.toml:9: `roles` of `scope` of resource r is empty: name a role, or leave `roles` out";
    assert_eq!(parse(&[source(text)]).unwrap_err().first().unwrap().to_string(), problem);
}

#[test]
fn the_issuer_of_this_server_is_neither_a_backend_nor_an_identity_provider() {
    let text = "\
[[identity_provider]]
id = 'own'
issuer = 'https://auth.example.com'
name = 'Own'

[[resource]]
id = 'own'
audience = 'HTTPS://auth.example.com/'
name = 'Own'
";
    let told = problems(text);
    assert!(told.contains("registry.toml:3: identity provider own: is this server's own issuer"), "{told}");
    assert!(told.contains("registry.toml:8: resource own: is the issuer of this server"), "{told}");
}
