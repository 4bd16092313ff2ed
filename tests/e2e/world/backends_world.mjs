// A world for the backends of examples/: a database of health records whose log is kept, one agent that acts for all
// users, and each user's own agreement to it.

import { join } from 'node:path';
import { decodeJwt } from 'jose';
import * as openid from 'openid-client';
import { BACKENDS, ExampleBackend, FOLDER } from './example_backends.mjs';
import { createDatabase, Postgres, psqlFile } from './postgres.mjs';
import { User } from './user.mjs';
import { World } from './world.mjs';

const LOGIN_SECRET = 'the-secret-of-procura-at-the-identity-provider';

// No parameters: they hold the users' claims and what they write. The line of the statement is enough.
const LOGGING = ['log_line_prefix=%m [%p] %u@%d ', 'log_parameter_max_length=0', 'log_parameter_max_length_on_error=0'];

export class BackendsWorld extends World {
  confidential = ['agent'];
  settings = () => ({ secrets: { CORP_SECRET: LOGIN_SECRET } });
  registry = ({ idp }) => registry(idp, this.backends);
  backends = {};
  #idTokens = {};
  #brief = {};

  async start() {
    for (const name of Object.keys(BACKENDS)) {
      this.backends[name] = new ExampleBackend(name, await ExampleBackend.address(name));
    }
    await super.start();
    await this.idp.register({
      client_id: 'procura',
      client_secret: LOGIN_SECRET,
      redirect_uris: [`${this.procura.issuer}/callback/corp`],
    });
    this.postgres = await Postgres.start({ more: LOGGING });
    this.database = await createDatabase(this.postgres.url, 'records');
    await psqlFile(this.database, join(FOLDER, 'schema.sql'));
    this.application = Object.assign(new URL(this.database), { username: 'records_app' }).href;
    for (const backend of Object.values(this.backends)) this.#brief[backend.name] = await this.#briefToken(backend);
  }

  async stop() {
    for (const backend of Object.values(this.backends)) await backend.stop();
    await this.postgres?.stop();
    await super.stop();
  }

  authentication(id) {
    return id === 'agent' ? openid.ClientSecretBasic(this.secrets.agent) : super.authentication(id);
  }

  /** The agent's token for a user at a backend. The user is asked, once for each backend, and allows it. */
  async token(user, backend, scope = 'records.read records.write') {
    const id_token = (this.#idTokens[user] ??= await this.idp.signIn(user));
    const exchange = () => this.exchange('agent', id_token, { resource: backend.url, scope });
    const answer = await exchange().catch(async (refusal) => {
      const { error, consent_uri } = refusal.cause ?? {};
      if (error !== 'consent_required') throw refusal;
      await new User(user).follow(consent_uri);
      return exchange();
    });
    return answer.access_token;
  }

  /** A token of Alice that has ended. */
  async expiredToken(backend) {
    const token = this.#brief[backend.name];
    const wait = (decodeJwt(token).exp + 1) * 1000 - Date.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    return token;
  }

  /** It ends within a few seconds, because what it is exchanged for does. */
  async #briefToken(backend) {
    await this.token('alice', backend);
    const brief = await this.idp.signIn('alice', 'brief-app');
    return (await this.exchange('agent', brief, { resource: backend.url, scope: 'records.read' })).access_token;
  }

  /** The agent's token on its own account: nobody's. */
  async ownToken(backend) {
    const grant = { resource: backend.url, scope: 'records.read' };
    return (await openid.clientCredentialsGrant(await this.client('agent'), grant)).access_token;
  }
}

const registry = (idp, backends) => `
[[identity_provider]]
id = "corp"
issuer = "${idp}"
name = "Example Corp"
algorithms = ["RS256", "ES256"]
subject_prefix = "corp|"
allow_private_addresses = true
claims = { email = "/email", name = "/name" }
login = { client_id = "procura", client_secret_env = "CORP_SECRET", scopes = ["openid", "profile", "email"] }
[[identity_provider.subject_token]]
type = "id_token"
audiences = ["assistant-app", "brief-app"]
clients = ["agent"]
${Object.values(backends).map(resource).join('')}
[[client]]
id = "agent"
name = "Shared Agent"
authentication = "client_secret_basic"
grants = ["token_exchange", "client_credentials"]
consent = "user"
[client.resources]
${Object.keys(backends).map((name) => `${name} = ["records.read", "records.write"]\n`).join('')}`;

const resource = ({ name, url }) => `
[[resource]]
id = "${name}"
audience = "${url}"
name = "Health records by ${name}"
token_lifetime_seconds = 3600
[[resource.scope]]
name = "records.read"
description = "See your health records"
access = "read"
[[resource.scope]]
name = "records.write"
description = "Add to your health records"
access = "write"
`;
