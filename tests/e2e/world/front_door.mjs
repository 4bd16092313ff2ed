// Everything that stands between a user's LLM client and their records: Procura with sign-in at the provider, the MCP
// server of examples/, and the backend that it calls on.

import { start as startMcpServer } from '../../../examples/mcp-server-node/server.mjs';
import { startModels } from '../../../examples/mcp-server-node/models.mjs';
import { freePort } from './processes.mjs';
import { User } from './user.mjs';
import { onEachDatabase, World } from './world.mjs';

const LOGIN_SECRET = 'the-secret-of-procura-at-the-identity-provider';

export const ALICE = ['Alice: allergy test', 'Alice: blood count', 'Alice: x-ray'];

/** Defines the tests once for each database. `registry` is added to the registry file, `settings` to procura.toml. */
export function atTheFrontDoor(title, define, { registry, settings, only } = {}) {
  onEachDatabase(title, define, { only, make: (database) => new FrontDoor(database, registry, settings) });
}

export class FrontDoor extends World {
  #more;
  #settings;
  #servers = [];

  /** How far the clock of the MCP server is ahead, in seconds: that is how a token expires without anybody waiting. */
  ahead = 0;

  confidential = ['records-mcp'];
  settings = () => ({ more: this.#settings, secrets: { CORP_SECRET: LOGIN_SECRET } });
  registry = ({ idp }) => frontDoorRegistry({ idp, mcp: this.mcp, models: this.models, more: this.#more?.(this) });

  constructor(database, more, settings) {
    super(database);
    this.#more = more;
    this.#settings = settings;
  }

  async start() {
    this.mcp = `http://127.0.0.1:${await freePort()}/mcp`;
    this.models = `http://127.0.0.1:${await freePort()}/ask`;
    await super.start();
    const { issuer } = this.procura;
    await this.idp.register({
      client_id: 'procura',
      client_secret: LOGIN_SECRET,
      redirect_uris: [`${issuer}/callback/corp`],
      post_logout_redirect_uris: [`${issuer}/logout`],
      backchannel_logout_uri: `${issuer}/backchannel-logout/corp`,
      backchannel_logout_session_required: true,
    });
    this.#servers.push(await startModels({ issuer, url: this.models }));
    this.#servers.push(
      await startMcpServer({
        issuer,
        url: this.mcp,
        clientId: 'records-mcp',
        clientSecret: this.secrets['records-mcp'],
        models: this.models,
        now: () => new Date(Date.now() + this.ahead * 1000),
      }),
    );
  }

  async stop() {
    for (const server of this.#servers) {
      server.closeAllConnections();
      server.close();
    }
    await super.stop();
  }

  /** A user with a browser of their own, that was nowhere yet. */
  user(name) {
    return new User(name);
  }

  get issuer() {
    return this.procura.issuer;
  }

  async metadata() {
    return (await fetch(`${this.issuer}/.well-known/oauth-authorization-server`)).json();
  }
}

export const frontDoorRegistry = ({ idp, mcp, models, more = '' }) => `
[[identity_provider]]
id = "corp"
issuer = "${idp}"
name = "Example Corp"
algorithms = ["RS256", "ES256"]
subject_prefix = "corp|"
allow_private_addresses = true
claims = { roles = "/roles", email = "/email", name = "/name" }
login = { client_id = "procura", client_secret_env = "CORP_SECRET", scopes = ["openid", "profile", "email", "roles"] }

[[resource]]
id = "records"
audience = "${mcp}"
name = "Health records"
open_to = ["domain", "self_asserted"]
may_exchange_to = ["models"]
clients = ["records-mcp"]
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
audience = "${models}"
name = "Language models"
[[resource.scope]]
name = "model.general"
description = "Ask the general model"
access = "read"

[[client]]
id = "records-mcp"
name = "Health records server"
authentication = "client_secret_basic"
grants = ["token_exchange"]
consent = "user"
[client.resources]
models = ["model.general"]

[[client]]
id = "desk"
name = "Desk App"
authentication = "none"
grants = ["authorization_code", "refresh_token"]
redirect_uris = ["http://127.0.0.1/callback"]
consent = "user"
[client.resources]
records = ["records.read", "records.delete"]
${more}`;
