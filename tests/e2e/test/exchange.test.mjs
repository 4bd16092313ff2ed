// The three parties: a user, an LLM client that acts for them, and a backend that learns both names.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeJwt } from 'jose';
import * as oauth from 'oauth4webapi';
import { verifier } from '../world/backend.mjs';
import { MODELS, RECORDS } from '../world/registry.mjs';
import { ACCESS_TOKEN, ID_TOKEN, onEachDatabase, TOKEN_EXCHANGE } from '../world/world.mjs';

onEachDatabase('an exchange', (world) => {
  test('both discovery documents satisfy a strict client', async () => {
    for (const algorithm of ['oauth2', 'oidc']) {
      const metadata = (await world.client('assistant', { algorithm })).serverMetadata();
      assert.equal(metadata.issuer, world.procura.issuer);
      assert.equal(metadata.token_endpoint, `${world.procura.issuer}/token`);
      assert.equal(metadata.jwks_uri, `${world.procura.issuer}/.well-known/jwks.json`);
      assert.ok(metadata.grant_types_supported.includes(TOKEN_EXCHANGE));
    }
  });

  test('an RS256 ID token becomes a delegation token that names the user and the client', async () => {
    const id_token = await world.idp.signIn('alice');
    const answer = await world.exchange('assistant', id_token, { scope: 'records.read' });
    assert.equal(answer.issued_token_type, ACCESS_TOKEN);
    assert.equal(answer.token_type, 'bearer');
    assert.equal(answer.scope, 'records.read');

    const { payload, protectedHeader } = await verifier(world.procura.issuer, RECORDS)(answer.access_token);
    assert.deepEqual({ alg: protectedHeader.alg, typ: protectedHeader.typ }, { alg: 'ES256', typ: 'at+jwt' });
    assert.equal(payload.sub, 'corp|alice');
    assert.deepEqual(payload.act, { sub: 'assistant', iss: world.procura.issuer });
    assert.equal(payload.client_id, 'assistant');
    assert.equal(payload.scope, 'records.read');
    assert.deepEqual(payload.roles, ['doctor']);
    assert.equal(payload.client_assurance, 'vetted');
    assert.equal(payload.exp - payload.iat, 300);
    assert.equal(answer.expires_in, 300);
    for (const claim of ['jti', 'txn', 'grant_id', 'policy']) assert.equal(typeof payload[claim], 'string', claim);
    for (const claim of ['email', 'name', 'nonce']) assert.equal(payload[claim], undefined, claim);
    assert.ok(answer.access_token.length < 2048);
  });

  test('an ES256 ID token is exchanged by another client library, authenticated with a key', async () => {
    const issuer = new URL(world.procura.issuer);
    const insecure = { [oauth.allowInsecureRequests]: true };
    const discovered = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure });
    const as = await oauth.processDiscoveryResponse(issuer, discovered);
    const client = { client_id: 'agent' };
    const request = {
      subject_token: await world.idp.signIn('bob', 'agent-app'),
      subject_token_type: ID_TOKEN,
      audience: 'records',
    };
    const authentication = oauth.PrivateKeyJwt(world.agentKey);
    const response = await oauth.genericTokenEndpointRequest(
      as, client, authentication, TOKEN_EXCHANGE, request, insecure);
    assert.equal(response.headers.get('cache-control'), 'no-store');
    const answer = await oauth.processGenericTokenEndpointResponse(as, client, response);

    const { payload } = await verifier(world.procura.issuer, RECORDS)(answer.access_token);
    assert.equal(payload.sub, 'corp|bob');
    assert.equal(payload.act.sub, 'agent');
    assert.equal(payload.scope, 'records.read');
  });

  test('one client, two users: the backend shows each their own rows', async () => {
    const seen = {};
    for (const user of ['alice', 'bob']) {
      const { access_token } = await world.exchange('assistant', await world.idp.signIn(user), { scope: 'records.read' });
      seen[user] = await world.backend.rows(access_token);
    }
    assert.deepEqual(seen.alice, {
      status: 200,
      by: 'assistant',
      rows: ['Alice: allergy test', 'Alice: blood count', 'Alice: x-ray'],
    });
    assert.equal(seen.bob.rows.length, 4);
    assert.ok(seen.bob.rows.every((row) => row.startsWith('Bob: ')));
  });

  test('a token for one backend is refused by another, and so is an ID token', async () => {
    const id_token = await world.idp.signIn('alice');
    const { access_token } = await world.exchange('assistant', id_token, { resource: MODELS, scope: 'model.general' });
    await verifier(world.procura.issuer, MODELS)(access_token);
    assert.deepEqual(await world.backend.rows(access_token), { status: 401 });
    assert.deepEqual(await world.backend.rows(id_token), { status: 401 });
  });

  test("another application's ID token is refused, and explain says why", async () => {
    const stolen = await world.idp.signIn('alice', 'unrelated-app');
    const { body, requestId } = await world.refused(world.exchange('assistant', stolen), 400, 'invalid_request');
    assert.equal(JSON.stringify(body).includes('unrelated-app'), false, 'the wire says more than it should');

    const { event, words } = await world.explain(requestId);
    assert.equal(event.reason, 'subject_token_audience_foreign');
    assert.equal(event.outcome, 'refused');
    assert.match(words, /subject_token_audience_foreign/);
    assert.match(words, /unrelated-app/);
  });

  test('an ID token meant for one client is refused from another', async () => {
    const id_token = await world.idp.signIn('alice', 'assistant-app');
    const { requestId } = await world.refused(world.exchange('agent', id_token), 400, 'invalid_request');
    assert.equal((await world.explain(requestId)).event.reason, 'subject_token_audience_foreign');
  });

  test('an altered ID token is refused', async () => {
    const [header, , signature] = (await world.idp.signIn('bob')).split('.');
    const claims = { ...decodeJwt(await world.idp.signIn('bob')), sub: 'alice' };
    const forged = [header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.');
    const { requestId } = await world.refused(world.exchange('assistant', forged), 400, 'invalid_request');
    assert.equal((await world.explain(requestId)).event.reason, 'subject_token_signature_invalid');
  });

  test('an altered delegation token is refused by the backend', async () => {
    const { access_token } = await world.exchange('assistant', await world.idp.signIn('bob'));
    const [header, , signature] = access_token.split('.');
    const claims = { ...decodeJwt(access_token), sub: 'corp|alice' };
    const forged = [header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.');
    assert.equal((await world.backend.rows(access_token)).status, 200);
    assert.deepEqual(await world.backend.rows(forged), { status: 401 });
  });

  test('an unknown target and a scope beyond the ceiling are refused by their own errors', async () => {
    const id_token = await world.idp.signIn('alice');
    const exchange = (parameters) => world.exchange('assistant', id_token, parameters);
    await world.refused(exchange({ resource: 'https://unknown.example.com' }), 400, 'invalid_target');
    await world.refused(exchange({ scope: 'records.everything' }), 400, 'invalid_scope');
  });

  test('who names the user, the client and the backend of a token', async () => {
    const { access_token } = await world.exchange('assistant', await world.idp.signIn('alice'));
    const words = await world.procura.cli('who', decodeJwt(access_token).jti);
    for (const name of ['corp|alice', 'assistant', 'records']) assert.ok(words.includes(name), `${name} in:\n${words}`);
  });
});
