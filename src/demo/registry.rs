//! The registry file of the demo, with the addresses of this run in it.

/// Where everything is in this run.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    /// Procura's issuer.
    pub(super) procura: String,
    /// The identity provider's issuer.
    pub(super) identity_provider: String,
    /// The web page of Assistant.
    pub(super) assistant: String,
    /// The records backend: its address and its `aud`.
    pub(super) records: String,
    /// The models backend: its address and its `aud`.
    pub(super) models: String,
}

/// Procura itself, as an app of the identity provider.
pub(super) const PROCURA: &str = "procura";
/// The LLM app that Alice and Bob use.
pub(super) const ASSISTANT: &str = "assistant";
/// Another app, registered like any other, that has no business with Alice.
pub(super) const STRANGER: &str = "stranger";
/// The records backend when it calls on.
pub(super) const RECORDS_BACKEND: &str = "records-backend";

/// What `procura apply` would be given.
pub(super) fn registry_text(addresses: &Addresses) -> String {
    let Addresses { identity_provider, assistant, records, models, .. } = addresses;
    format!(
        r#"# The registry of the demo: who vouches for users, which backends there are, which clients may act.

[[identity_provider]]
id = "demo"
issuer = "{identity_provider}"
name = "Demo identity provider"
algorithms = ["RS256"]
allow_private_addresses = true             # it is on this machine
subject_prefix = ""                        # it is the only provider
claims = {{ roles = "/roles", email = "/email", name = "/name" }}
login = {{ client_id = "{PROCURA}", scopes = ["openid", "email", "profile"] }}   # people sign in there for the consent page
[[identity_provider.subject_token]]
type = "id_token"
audiences = ["{ASSISTANT}"]                # an ID token made for Assistant ...
clients = ["{ASSISTANT}"]                  # ... may be presented by Assistant, and by nobody else
max_age_seconds = 3600

[[resource]]
id = "records"
audience = "{records}"
name = "Health records"
token_lifetime_seconds = 300
may_exchange_to = ["models"]               # the records backend may call on to the models backend
clients = ["{RECORDS_BACKEND}"]
open_to = ["domain"]                       # apps known by a document at their own address may ask too
[[resource.scope]]
name = "records.read"
description = "See your health records"
access = "read"
[[resource.scope]]
name = "appointments.book"
description = "Book and cancel appointments for you"
access = "write"
vetted_only = true                         # only for apps that an administrator registered

[[resource]]
id = "models"
audience = "{models}"
name = "Models"
token_lifetime_seconds = 300
[[resource.scope]]
name = "model.general"
description = "Ask the general model for you"
access = "read"
[[resource.scope]]
name = "model.medical"
description = "Ask the medical model for you"
access = "read"
roles = ["doctor"]                         # only doctors use the medical model

[[client]]
id = "{ASSISTANT}"
name = "Assistant"
authentication = "client_secret_basic"
grants = ["token_exchange"]
redirect_uris = ["{assistant}/callback"]
[client.resources]
records = ["records.read", "appointments.book"]
models = ["model.general", "model.medical"]

[[client]]
id = "{RECORDS_BACKEND}"
name = "Health records, calling on"
authentication = "client_secret_basic"
grants = ["token_exchange"]
consent = "admin"                          # the administrator agreed for everyone
[client.resources]
models = ["model.general"]

[[client]]
id = "{STRANGER}"
name = "Stranger"
authentication = "client_secret_basic"
grants = ["token_exchange"]
[client.resources]
records = ["records.read"]
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_stands_in_the_file_and_the_file_is_toml() {
        let addresses = Addresses {
            procura: "http://127.0.0.1:1".to_owned(),
            identity_provider: "http://127.0.0.1:2".to_owned(),
            assistant: "http://127.0.0.1:3".to_owned(),
            records: "http://127.0.0.1:4/records".to_owned(),
            models: "http://127.0.0.1:5/models".to_owned(),
        };
        let file: toml::Table = registry_text(&addresses).parse().unwrap();
        assert_eq!(file["identity_provider"][0]["issuer"].as_str(), Some("http://127.0.0.1:2"));
        assert_eq!(file["resource"][0]["audience"].as_str(), Some("http://127.0.0.1:4/records"));
        assert_eq!(file["client"][0]["redirect_uris"][0].as_str(), Some("http://127.0.0.1:3/callback"));
    }
}
