// The server under measurement: the release binary, its registry, its data, and what it says of itself.

import { randomBytes } from 'node:crypto';
import { rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, run } from '../tests/e2e/world/processes.mjs';
import { APP, Issuer } from './issuer.mjs';
import { Measured } from './process.mjs';

const SEEDING_LIMIT_MS = 3_000_000;
const BINARY = process.env.PROCURA_BIN;
// Nothing of the caller's own configuration gets in.
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PROCURA_')));

export const RECORDS = 'https://records.example.com/api';
export const MODELS = 'https://models.example.com/v1';

/** One provider, two backends, a client that users agreed to, and the first backend as a client of the second. */
const registry = (issuer, policies, statusList = false) => `
[[identity_provider]]
id = "corp"
issuer = "${issuer}"
name = "Example Corp"
algorithms = ["RS256", "ES256"]
subject_prefix = "corp|"
allow_private_addresses = true
claims = { roles = "/roles", email = "/email", name = "/name" }
[[identity_provider.subject_token]]
type = "id_token"
audiences = ["${APP}"]
clients = ["assistant"]

[[resource]]
id = "records"
audience = "${RECORDS}"
name = "Health records"
status_list = ${statusList}
token_lifetime_seconds = 3600
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
[[resource.scope]]
name = "model.general"
description = "Ask the general model"
access = "read"

[[client]]
id = "assistant"
name = "Acme Assistant"
authentication = "client_secret_basic"
grants = ["token_exchange", "client_credentials"]
consent = "user"
[client.resources]
records = ["records.read", "records.delete"]

[[client]]
id = "records-backend"
name = "Health records server"
authentication = "client_secret_basic"
grants = ["token_exchange"]
consent = "admin"
[client.resources]
models = ["model.general"]
${Array.from({ length: policies }, (_, number) => policy(number)).join('')}`;

// Every other one names the scope that the load asks for, so half of them have to be looked at.
const policy = (number) => `
[[policy]]
id = "policy-${number}"
cedar = '''forbid (principal, action == Action::"use", resource == Scope::"records#records.${number % 2 ? 'read' : 'delete'}")
when { principal has groups && principal.groups.contains("barred-${number}") };'''
`;

export class Procura {
  #folder;
  #database;
  #process;
  #secrets = {};
  #declared;

  /**
   * Migrates, declares and seeds; starts nothing. So many `users` have agreed to the client `assistant`; there are so many
   * own policies; `settings` are added to the configuration.
   */
  static async create(folder, database, issuer, { users, policies = 0, settings = '' }) {
    const procura = new Procura();
    const [port, adminPort] = [await freePort(), await freePort()];
    procura.#folder = folder;
    procura.#database = database;
    procura.origin = `http://127.0.0.1:${port}`;
    procura.admin = `http://127.0.0.1:${adminPort}`;
    const config = `
issuer = "${procura.origin}"
listen = "127.0.0.1:${port}"
admin_listen = "127.0.0.1:${adminPort}"
database_url = "${database.url}"
secrets_key = "${randomBytes(32).toString('base64')}"
${settings}
`;
    await writeFile(join(folder, 'procura.toml'), config, { mode: 0o600 });
    await procura.cli('migrate');
    procura.#declared = [issuer, policies];
    await procura.declare({ statusList: false });
    await database.sql(consents(database.numbers(users)));
    await database.analyze();
    for (const id of ['assistant', 'records-backend']) {
      procura.#secrets[id] = JSON.parse(await procura.cli('--json', 'client', 'rotate-secret', id)).client_secret;
    }
    return procura;
  }

  /** Declares everything; with `statusList` the records' tokens are in a status list. */
  async declare({ statusList }) {
    await writeFile(join(this.#folder, 'registry.toml'), registry(...this.#declared, statusList));
    await this.cli('apply', 'registry.toml');
  }

  cli(...args) {
    return run(BINARY, args, { cwd: this.#folder, env: environment, timeout: 300_000 });
  }

  async start() {
    const url = `${this.origin}/.well-known/jwks.json`;
    this.#process = await Measured.start([BINARY, 'serve'], url, { cwd: this.#folder, env: environment });
    return this.#process;
  }

  stop() {
    return this.#process?.stop();
  }

  basic(client) {
    return `Basic ${Buffer.from(`${client}:${this.#secrets[client]}`).toString('base64')}`;
  }

  /** What the server counted: events made durable. */
  async events() {
    const text = await (await fetch(`${this.admin}/metrics`)).text();
    return Number(/^procura_audit_events_total (\d+)/m.exec(text)[1]);
  }
}

const consents = (numbers) => `
INSERT INTO consent (id, user_id, client_id, resource_id, scopes, source, granted_at)
SELECT 'bench-' || n, 'corp|${Issuer.user('')}' || n, 'assistant', 'records', 'records.delete records.read', 'user', 1
FROM ${numbers};
UPDATE version SET consents = consents + 1;
`;

/** A database: its URL, a way to run SQL with many rows, and its size. */
export class Sqlite {
  constructor(folder) {
    this.file = join(folder, 'procura.db');
    this.url = `sqlite://${this.file}`;
  }

  sql(text) {
    const quickly = 'PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000;';
    return run('sqlite3', ['-bail', this.file, `${quickly}${text}`], { timeout: SEEDING_LIMIT_MS });
  }

  /** SQLite plans by rules here; but what was seeded without flushing has to be on the disk before anything is measured. */
  analyze() {
    return run('sync', [], { timeout: SEEDING_LIMIT_MS });
  }

  /** A table of one column, n, from 0. */
  numbers(count) {
    return `(SELECT value AS n FROM generate_series(0, ${count - 1})) AS number`;
  }

  async remove() {
    for (const file of [this.file, `${this.file}-wal`]) await rm(file, { force: true });
  }

  /** Bytes on disk, the log that is not yet copied into the file too. */
  async bytes() {
    const sizes = [this.file, `${this.file}-wal`].map((file) => stat(file).then(({ size }) => size, () => 0));
    return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  }
}

export class PostgresDatabase {
  constructor(url) {
    this.url = url;
  }

  sql(text) {
    return run('psql', ['-X', '-q', '-t', '-A', '-v', 'ON_ERROR_STOP=1', '-d', this.url, '-c', text], {
      timeout: SEEDING_LIMIT_MS,
    });
  }

  /** What autovacuum and the checkpointer do some minutes after many rows came at once: until then nothing is typical. */
  async analyze() {
    await this.sql('VACUUM ANALYZE');
    await this.sql('CHECKPOINT');
  }

  numbers(count) {
    return `generate_series(0::bigint, ${count - 1}) AS number (n)`;
  }

  async remove() {
    const url = new URL(this.url);
    const name = url.pathname.slice(1);
    url.pathname = '/postgres';
    await new PostgresDatabase(url.href).sql(`DROP DATABASE "${name}" WITH (FORCE)`);
  }

  /** Bytes of tables and indexes; the server's own log, which is used again, is not in it. */
  async bytes() {
    return Number(await this.sql('SELECT pg_database_size(current_database())'));
  }
}
