// The three parties, started together: users at their identity provider, LLM clients, a backend, and Procura between.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { exportJWK, generateKeyPair } from 'jose';
import * as openid from 'openid-client';
import { Backend } from './backend.mjs';
import { IdentityProvider } from './identity_provider.mjs';
import { createDatabase } from './postgres.mjs';
import { Procura } from './procura.mjs';
import { RECORDS, registry } from './registry.mjs';

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token';
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

const databases = (process.env.E2E_DATABASES ?? 'sqlite postgres').split(/[\s,]+/);

/**
 * Defines the tests once for each database, or for one that is named. The last of them checks the audit trail that the
 * others left.
 */
export function onEachDatabase(title, define, { only, make = (database) => new World(database), minutes = 2 } = {}) {
  for (const database of databases.filter((database) => !only || database === only)) {
    describe(`${title}, on ${database}`, { timeout: minutes * 60_000 }, () => {
      const world = make(database);
      before(() => world.start(), { timeout: 60_000 });
      after(() => world.stop(), { timeout: 30_000 });
      define(world);
      test('the audit trail of all this verifies', () => world.procura.cli('audit', 'verify'));
    });
  }
}

export class World {
  #database;
  #folder;

  /** What a world of another kind has differently: files, configuration, registry, and which clients have a secret. */
  prepare = async (_folder) => {};
  settings = (_folder) => ({});
  registry = registry;
  confidential = ['assistant', 'companion', 'records-backend'];

  constructor(database) {
    this.#database = database;
  }

  async start() {
    this.#folder = await mkdtemp(join(tmpdir(), 'procura-e2e-'));
    const agent = await generateKeyPair('ES256', { extractable: true });
    this.agentKey = { key: agent.privateKey, kid: 'agent-1' };
    this.idp = await IdentityProvider.start();
    await this.prepare(this.#folder);
    this.procura = await Procura.create(this.#folder, await this.#databaseUrl(), this.settings(this.#folder));
    await this.procura.cli('migrate');
    await this.procura.apply(this.registry({ idp: this.idp.issuer, agentKey: await exportJWK(agent.publicKey) }));
    this.secrets = {};
    for (const client of this.confidential) await this.rotateSecret(client);
    await this.procura.start();
    this.backend = await Backend.start(this.procura.issuer, RECORDS);
  }

  async stop() {
    await this.backend?.stop();
    const code = await this.procura?.stop();
    await this.idp?.stop();
    await rm(this.#folder, { recursive: true, force: true });
    if (this.backend) assert.equal(code, 0, `the server did not end in good order:\n${this.procura.log}`);
  }

  async rotateSecret(client) {
    const { client_id, client_secret } = await this.procura.json('client', 'rotate-secret', client);
    assert.equal(client_id, client);
    this.secrets[client] = client_secret;
    return client_secret;
  }

  /** A client of openid-client, configured by discovery. */
  client(id = 'assistant', { algorithm = 'oauth2', authentication = this.authentication(id) } = {}) {
    const options = { algorithm, execute: [openid.allowInsecureRequests] };
    return openid.discovery(new URL(this.procura.issuer), id, undefined, authentication, options);
  }

  authentication(id) {
    if (id === 'agent') return openid.PrivateKeyJwt(this.agentKey);
    const method = id === 'companion' ? openid.ClientSecretPost : openid.ClientSecretBasic;
    return method(this.secrets[id]);
  }

  /** Exchanges by openid-client: an ID token unless the parameters say otherwise. */
  async exchange(client, subject_token, parameters = {}) {
    return openid.genericGrantRequest(await this.client(client), TOKEN_EXCHANGE, {
      subject_token,
      subject_token_type: ID_TOKEN,
      resource: RECORDS,
      ...parameters,
    });
  }

  /** Expects an OAuth error in answer to the exchange. Resolves with the body, the response and its request id. */
  async refused(exchange, status, error) {
    const refusal = await exchange.then(
      (tokens) => assert.fail(`a token was issued: ${JSON.stringify(tokens)}`),
      (reason) => reason,
    );
    assert.ok(refusal.response, `no answer: ${refusal.stack}`);
    // With a WWW-Authenticate challenge the libraries leave the body unread.
    const body = refusal.response.bodyUsed ? refusal.cause : await refusal.response.json();
    assert.deepEqual({ status: refusal.response.status, error: body.error }, { status, error });
    const requestId = refusal.response.headers.get('x-request-id');
    assert.ok(requestId, 'the answer has no X-Request-Id');
    return { body, response: refusal.response, requestId };
  }

  /** The operators' answer to "why": the event as data, and the words. */
  async explain(requestId) {
    const [event] = await this.procura.json('explain', requestId);
    const words = await this.procura.cli('explain', requestId);
    return { event, words };
  }

  async #databaseUrl() {
    if (this.#database === 'sqlite') return `sqlite://${join(this.#folder, 'procura.db')}`;
    const cluster = process.env.E2E_POSTGRES_URL;
    if (!cluster) throw new Error('E2E_POSTGRES_URL is not set: start the tests by npm test');
    return createDatabase(cluster, `e2e_${crypto.randomUUID()}`);
  }
}
