// The registry of the tests: one provider, two backends, and a client for each way to authenticate.

export const RECORDS = 'https://records.example.com/api';
export const MODELS = 'https://models.example.com/v1';

/** @param {{ idp: string, agentKey: import('jose').JWK }} */
export const registry = ({ idp, agentKey }) => `
[[identity_provider]]
id = "corp"
issuer = "${idp}"
name = "Example Corp"
algorithms = ["RS256", "ES256"]
subject_prefix = "corp|"
allow_private_addresses = true
claims = { roles = "/roles", email = "/email", name = "/name" }
[[identity_provider.subject_token]]
type = "id_token"
audiences = ["assistant-app"]
clients = ["assistant", "companion"]
[[identity_provider.subject_token]]
type = "id_token"
audiences = ["agent-app"]
clients = ["agent"]

[[resource]]
id = "records"
audience = "${RECORDS}"
name = "Health records"
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

[[resource]]
id = "models"
audience = "${MODELS}"
name = "Language models"
signing_algorithm = "EdDSA"
[[resource.scope]]
name = "model.general"
description = "Ask the general model"
access = "read"
[[resource.scope]]
name = "model.medical"
description = "Ask the medical model"
access = "read"
policy = "explicit"

[[policy]]
id = "doctors-use-medical-models"
cedar = '''
permit (principal, action == Action::"use", resource == Scope::"models#model.medical")
when { principal.roles.contains("doctor") };
'''

[[client]]
id = "assistant"
name = "Acme Assistant"
authentication = "client_secret_basic"
grants = ["token_exchange"]
consent = "admin"
[client.resources]
records = ["records.read", "records.delete"]
models = ["model.general", "model.medical"]

[[client]]
id = "companion"
name = "Pocket Companion"
authentication = "client_secret_post"
grants = ["token_exchange"]
consent = "user"
[client.resources]
records = ["records.read", "records.delete"]

[[client]]
id = "agent"
name = "Night Agent"
authentication = "private_key_jwt"
jwks = { keys = [{ kty = "${agentKey.kty}", crv = "${agentKey.crv}", x = "${agentKey.x}", y = "${agentKey.y}", \
kid = "agent-1", alg = "ES256", use = "sig" }] }
grants = ["token_exchange"]
consent = "admin"
[client.resources]
records = ["records.read"]

[[client]]
id = "records-backend"
name = "Health records server"
authentication = "client_secret_basic"
grants = ["token_exchange", "client_credentials"]
consent = "admin"
[client.resources]
models = ["model.general", "model.medical"]
`;
