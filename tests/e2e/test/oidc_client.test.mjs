// A client that wants OpenID Connect of us, by a certified library: pushed request, code, ID token, userinfo, refresh,
// revocation. The library checks signature, nonce, `iss` and all else that it can.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeJwt } from 'jose';
import * as openid from 'openid-client';
import { atTheFrontDoor } from '../world/front_door.mjs';

const REDIRECT_URI = 'http://127.0.0.1:4448/callback';

atTheFrontDoor('a client of openid-client', (world) => {
  const discover = () =>
    openid.discovery(new URL(world.issuer), 'desk', undefined, openid.None(), {
      algorithm: 'oidc',
      execute: [openid.allowInsecureRequests],
    });

  /** From the request to the tokens. `push` sends the request to the server first (RFC 9126). */
  async function connect(config, parameters, { push = false } = {}) {
    const pkceCodeVerifier = openid.randomPKCECodeVerifier();
    const [expectedState, expectedNonce] = [openid.randomState(), openid.randomNonce()];
    const request = {
      redirect_uri: REDIRECT_URI,
      resource: world.mcp,
      code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
      state: expectedState,
      nonce: expectedNonce,
      ...parameters,
    };
    const build = push ? openid.buildAuthorizationUrlWithPAR : openid.buildAuthorizationUrl;
    const { url } = await world.user('alice').authorize(await build(config, request), REDIRECT_URI);
    return openid.authorizationCodeGrant(config, url, {
      pkceCodeVerifier,
      expectedState,
      expectedNonce: request.nonce,
    });
  }

  test('gets an ID token that names the user, and what they let it know', async () => {
    const config = await discover();
    const tokens = await connect(config, {
      scope: 'openid profile email offline_access records.read',
      prompt: 'consent',
    });
    const { sub, aud, iss } = tokens.claims();
    assert.deepEqual({ sub, aud, iss }, { sub: 'corp|alice', aud: 'desk', iss: world.issuer });

    const profile = await openid.fetchUserInfo(config, tokens.access_token, sub);
    assert.equal(profile.email, 'alice@example.com');
    assert.equal(profile.name, 'Alice Adams');

    const next = await openid.refreshTokenGrant(config, tokens.refresh_token);
    assert.equal(decodeJwt(next.access_token).sub, sub);
  });

  test('gets no ID token, and learns nothing of the user, if it did not ask', async () => {
    const config = await discover();
    const tokens = await connect(config, { scope: 'records.read', nonce: undefined });
    assert.equal(tokens.id_token, undefined);
    await assert.rejects(openid.fetchUserInfo(config, tokens.access_token, 'corp|alice'));
  });

  test('may push its request first', async () => {
    const config = await discover();
    const tokens = await connect(config, { scope: 'openid records.read' }, { push: true });
    assert.equal(tokens.claims().sub, 'corp|alice');
    assert.equal(decodeJwt(tokens.access_token).aud, world.mcp);
  });

  test('gives its tokens back, and then has none', async () => {
    const config = await discover();
    const { refresh_token } = await connect(config, { scope: 'openid offline_access records.read' });
    await openid.tokenRevocation(config, refresh_token);
    await assert.rejects(openid.refreshTokenGrant(config, refresh_token), { error: 'invalid_grant' });
  });
});
