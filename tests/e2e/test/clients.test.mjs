// Clients: each proves who it is in the way it is registered with, and only so.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SignJWT } from 'jose';
import * as openid from 'openid-client';
import { eventually } from '../world/processes.mjs';
import { RECORDS } from '../world/registry.mjs';
import { ID_TOKEN, onEachDatabase, TOKEN_EXCHANGE } from '../world/world.mjs';

onEachDatabase('a client', (world) => {
  test('with a secret in the form is known by it', async () => {
    // Refused for want of consent, gate 9: the client passed gate 1.
    const exchange = world.exchange('companion', await world.idp.signIn('alice'));
    const { requestId } = await world.refused(exchange, 400, 'consent_required');
    assert.equal((await world.explain(requestId)).event.client_authentication, 'client_secret_post');
  });

  test('with a wrong secret is refused, and told how to authenticate', async () => {
    const config = await world.client('assistant', { authentication: openid.ClientSecretBasic('not-the-secret') });
    const exchange = openid.genericGrantRequest(config, TOKEN_EXCHANGE, {
      subject_token: await world.idp.signIn('alice'),
      subject_token_type: ID_TOKEN,
      resource: RECORDS,
    });
    const { response, requestId } = await world.refused(exchange, 401, 'invalid_client');
    assert.match(response.headers.get('www-authenticate'), /^Basic /);
    assert.equal((await world.explain(requestId)).event.reason, 'client_secret_wrong');
  });

  test('that uses another method than its own is refused', async () => {
    const config = await world.client('assistant', {
      authentication: openid.ClientSecretPost(world.secrets.assistant),
    });
    const exchange = openid.genericGrantRequest(config, TOKEN_EXCHANGE, {
      subject_token: await world.idp.signIn('alice'),
      subject_token_type: ID_TOKEN,
      resource: RECORDS,
    });
    const { requestId } = await world.refused(exchange, 401, 'invalid_client');
    assert.equal((await world.explain(requestId)).event.reason, 'client_authentication_method');
  });

  test('with a key may use an assertion once', async () => {
    const now = Math.floor(Date.now() / 1000);
    const client_assertion = await new SignJWT({
      iss: 'agent', sub: 'agent', aud: world.procura.issuer, iat: now, exp: now + 60, jti: crypto.randomUUID(),
    }).setProtectedHeader({ alg: 'ES256', kid: world.agentKey.kid }).sign(world.agentKey.key);
    const subject_token = await world.idp.signIn('alice', 'agent-app');
    const send = () =>
      fetch(`${world.procura.issuer}/token`, {
        method: 'POST',
        body: new URLSearchParams({
          grant_type: TOKEN_EXCHANGE,
          subject_token,
          subject_token_type: ID_TOKEN,
          resource: RECORDS,
          client_assertion,
          client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        }),
      });
    assert.equal((await send()).status, 200);
    const replay = await send();
    assert.equal(replay.status, 401);
    assert.equal((await replay.json()).error, 'invalid_client');
    const { event } = await world.explain(replay.headers.get('x-request-id'));
    assert.equal(event.reason, 'client_assertion_replayed');
  });

  test('that was suspended is refused until it is resumed', async () => {
    const id_token = await world.idp.signIn('alice');
    const exchange = () => world.exchange('assistant', id_token);
    await exchange();
    await world.procura.cli('client', 'suspend', 'assistant');
    const { requestId } = await eventually(() => world.refused(exchange(), 401, 'invalid_client'), { seconds: 5 });
    assert.equal((await world.explain(requestId)).event.reason, 'client_suspended');
    await world.procura.cli('client', 'resume', 'assistant');
    await eventually(exchange, { what: 'the client to be back', seconds: 5 });
  });

  test('has two secrets while they change: the third ends the first', async () => {
    const id_token = await world.idp.signIn('alice');
    const first = world.secrets.assistant;
    const second = await world.rotateSecret('assistant');
    const exchangeWith = async (secret) => {
      world.secrets.assistant = secret;
      return world.exchange('assistant', id_token);
    };
    await eventually(() => exchangeWith(second), { what: 'the second secret to work', seconds: 5 });
    await exchangeWith(first);
    const third = await world.rotateSecret('assistant');
    await eventually(() => exchangeWith(third), { what: 'the third secret to work', seconds: 5 });
    await exchangeWith(second);
    await world.refused(exchangeWith(first), 401, 'invalid_client');
    world.secrets.assistant = third;
  });

  test('gets a token of its own, without a user in it', async () => {
    const config = await world.client('records-backend');
    const { access_token } = await openid.clientCredentialsGrant(config, {
      resource: 'https://models.example.com/v1',
      scope: 'model.general',
    });
    assert.equal(typeof access_token, 'string');
    const refused = openid.clientCredentialsGrant(await world.client('assistant'));
    await world.refused(refused, 400, 'unauthorized_client');
  });
});
