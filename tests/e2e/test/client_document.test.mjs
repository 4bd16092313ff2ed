// A client that publishes its own metadata document, here on loopback, as a developer's does.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { Documents, REDIRECT_URI } from '../world/documents.mjs';
import { atTheFrontDoor } from '../world/front_door.mjs';
import { granted, OAuthClient, refusedWith } from '../world/oauth_client.mjs';

atTheFrontDoor('a client with a document of its own', (world) => {
  let documents;

  before(async () => void (documents = await Documents.start()));
  after(() => documents.stop());

  const connect = async (client, user = 'alice') =>
    client.code(world.user(user), { redirect_uri: REDIRECT_URI, resource: world.mcp, scope: 'records.read' });

  test('is known by it, and by its address', async () => {
    const url = documents.publish('one.json', {});
    const client = new OAuthClient(world.issuer, { client_id: url });
    const code = await connect(client);
    assert.ok(code.consent.text.includes(new URL(url).host), code.consent.text);
    const tokens = await granted(await client.redeem(code));
    const who = await world.procura.json('who', JSON.parse(atob(tokens.access_token.split('.')[1])).jti);
    assert.ok(JSON.stringify(who).includes(url));
  });

  test('CM-11: is asked for it at the authorization only', async () => {
    const url = documents.publish('two.json', {});
    const client = new OAuthClient(world.issuer, { client_id: url });
    const code = await connect(client);
    const read = documents.reads(url);
    documents.unpublish(url);
    const { refresh_token } = await granted(await client.redeem(code));
    await granted(await client.refresh(refresh_token));
    assert.equal(documents.reads(url), read);
  });

  test('CM-17, CL-02: may sign instead, when its document names both ways', async () => {
    const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
    const jwk = { ...(await exportJWK(publicKey)), kid: 'its-key', alg: 'RS256', use: 'sig' };
    const url = documents.publish('both.json', {
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_methods_supported: ['none', 'private_key_jwt'],
      jwks: { keys: [jwk] },
    });
    const client = new OAuthClient(world.issuer, { client_id: url });
    const { refresh_token } = await granted(await client.redeem(await connect(client)));

    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: url, sub: url, aud: world.issuer, iat: now, exp: now + 60, jti: crypto.randomUUID() };
    const client_assertion = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', kid: 'its-key' })
      .sign(privateKey);
    const client_assertion_type = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
    await granted(await client.refresh(refresh_token, { client_assertion, client_assertion_type }));
  });

  test('CM-19: may name grants that there are not', async () => {
    const url = documents.publish('grants.json', {
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:jwt-bearer'],
    });
    const client = new OAuthClient(world.issuer, { client_id: url });
    await granted(await client.redeem(await connect(client)));
    const more = { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: 'x.y.z' };
    const response = await client.token(more);
    assert.equal(response.status, 400);
  });

  test('CM-03, CM-04, CM-10: is refused on a page when its document is not good', async () => {
    const bad = {
      'other.json': { client_id: 'https://app.example.com/other.json' },
      'nowhere.json': { redirect_uris: [] },
      'nameless.json': { client_name: undefined },
      'secret.json': { client_secret: 'not so secret' },
      'shared.json': { token_endpoint_auth_method: 'client_secret_post' },
    };
    const urls = Object.entries(bad).map(([name, metadata]) => documents.publish(name, metadata));
    urls.push(
      documents.publish('missing.json', {}),
      documents.publish('moved.json', {}),
      documents.publish('page.json', {}),
    );
    documents.unpublish(urls.at(-3));
    documents.move(urls.at(-2), urls[0]);
    documents.retype(urls.at(-1), 'text/html');
    for (const client_id of urls) {
      const client = new OAuthClient(world.issuer, { client_id });
      const link = client.authorizationUrl({ redirect_uri: REDIRECT_URI, code_challenge: 'x'.repeat(43) });
      const response = await fetch(link, { redirect: 'manual' });
      assert.equal(response.status, 400, client_id);
      assert.match(response.headers.get('content-type'), /^text\/html/);
    }
  });

  test('RG-10: that nobody ever saw at the authorization is unknown at the token endpoint', async () => {
    const url = documents.publish('unseen.json', {});
    const client = new OAuthClient(world.issuer, { client_id: url });
    await refusedWith(await client.refresh('no-such-token'), 401, 'invalid_client');
    assert.equal(documents.reads(url), 0);
  });
});
