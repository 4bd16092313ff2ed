// Clients that register themselves (RFC 7591): what is taken, and what they are told otherwise.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atTheFrontDoor } from '../world/front_door.mjs';
import { OAuthClient, refusedWith } from '../world/oauth_client.mjs';

atTheFrontDoor('a client that registers itself', (world) => {
  const register = async (metadata) => {
    const response = await OAuthClient.register(world.issuer, { client_name: 'A client', ...metadata });
    return { response, body: await response.json() };
  };

  test('RG-03: is told what is wrong with its redirect URIs', async () => {
    const refused = [
      'http://app.example.com/callback',
      'javascript:alert(1)//callback',
      'data:text/html,hello',
      'https://app.example.com/callback#fragment',
      'https://user:secret@app.example.com/callback',
      'https://app.example.com/*',
      'file:///callback',
    ];
    for (const uri of refused) {
      const { response, body } = await register({ redirect_uris: [uri], token_endpoint_auth_method: 'none' });
      assert.deepEqual([response.status, body.error], [400, 'invalid_redirect_uri'], uri);
    }
    assert.equal((await register({ redirect_uris: [] })).response.status, 400);
  });

  test('RG-07: as a web application may not name loopback', async () => {
    const { response, body } = await register({
      application_type: 'web',
      redirect_uris: ['http://localhost:8787/callback'],
      token_endpoint_auth_method: 'none',
    });
    assert.deepEqual([response.status, body.error], [400, 'invalid_redirect_uri']);
  });

  test('RG-01, RG-03: is answered in JSON, whatever it sends', async () => {
    for (const garbage of ['', 'not json', '[]', '"text"', '{"redirect_uris":"https://app.example.com"}']) {
      const response = await OAuthClient.register(world.issuer, garbage);
      assert.equal(response.status, 400, garbage);
      assert.match((await response.json()).error, /^invalid_(client_metadata|redirect_uri)$/);
    }
  });

  test('RG-08: gets neither exchange nor a token of its own', async () => {
    const { body } = await register({
      redirect_uris: ['https://app.example.com/callback'],
      grant_types: ['authorization_code', 'client_credentials', 'urn:ietf:params:oauth:grant-type:token-exchange'],
    });
    assert.deepEqual(body.grant_types, ['authorization_code']);
    const client = new OAuthClient(world.issuer, body);
    await refusedWith(await client.token({ grant_type: 'client_credentials' }), 400, 'unauthorized_client');
  });

  test('CM-14: has an id that is no address', async () => {
    const { body } = await register({ redirect_uris: ['https://app.example.com/callback'] });
    assert.equal(URL.canParse(body.client_id), false, body.client_id);
  });
});
