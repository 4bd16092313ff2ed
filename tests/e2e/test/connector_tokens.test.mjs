// Codes, access tokens and refresh tokens as connectors use them, and misuse them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeJwt } from 'jose';
import { atTheFrontDoor } from '../world/front_door.mjs';
import { granted, OAuthClient, refusedWith } from '../world/oauth_client.mjs';

atTheFrontDoor('tokens of a connector', (world) => {
  const redirect_uri = 'http://localhost:4444/callback';
  const client = () =>
    new OAuthClient(world.issuer, { client_id: 'https://claude.ai/oauth/claude-code-client-metadata' });
  const connect = async (parameters) => {
    const code = await client().code(world.user('alice'), { redirect_uri, ...parameters });
    return { code, tokens: await granted(await client().redeem(code)) };
  };

  test('CL-33: keep scope and resource when a refresh names neither', async () => {
    const { tokens } = await connect({ resource: world.mcp, scope: 'records.read' });
    const next = await granted(await client().refresh(tokens.refresh_token));
    assert.equal(next.scope, 'records.read');
    assert.equal(decodeJwt(next.access_token).aud, world.mcp);
  });

  test('CL-30: come out the same for several processes that refresh at once', async () => {
    const { tokens } = await connect({ resource: world.mcp });
    const answers = await Promise.all(Array.from({ length: 5 }, () => client().refresh(tokens.refresh_token)));
    const successors = new Set();
    for (const answer of answers) successors.add((await granted(answer)).refresh_token);
    assert.equal(successors.size, 1, 'the family forked');
  });

  test('OA-11: end when their code is shown a second time', async () => {
    const { code, tokens } = await connect({ resource: world.mcp });
    await refusedWith(await client().redeem(code), 400, 'invalid_grant');
    await refusedWith(await client().refresh(tokens.refresh_token), 400, 'invalid_grant');
  });

  test('OA-12: are refused for another verifier', async () => {
    const code = await client().code(world.user('alice'), { redirect_uri, resource: world.mcp });
    const response = await client().redeem({ ...code, code_verifier: 'v'.repeat(43) });
    await refusedWith(response, 400, 'invalid_grant');
  });

  test('CL-32, RG-10: are refused by the errors that clients act upon', async () => {
    await refusedWith(await client().refresh('no-such-token'), 400, 'invalid_grant');
    const stranger = new OAuthClient(world.issuer, { client_id: 'deleted-long-ago' });
    await refusedWith(await stranger.refresh('no-such-token'), 401, 'invalid_client');
  });

  test("CL-32: are not another client's", async () => {
    const { tokens } = await connect({ resource: world.mcp });
    const desk = new OAuthClient(world.issuer, { client_id: 'desk' });
    await refusedWith(await desk.refresh(tokens.refresh_token), 400, 'invalid_grant');
  });

  test('CL-34: are got with an empty password too', async () => {
    const code = await client().code(world.user('alice'), { redirect_uri, resource: world.mcp });
    const basic = new OAuthClient(world.issuer, {
      client_id: client().id,
      client_secret: '',
      token_endpoint_auth_method: 'client_secret_basic',
    });
    await granted(await basic.redeem(code));
  });

  test('CL-06, RI-04: come without scope and resource, when there is one resource', async () => {
    const desk = new OAuthClient(world.issuer, { client_id: 'desk' });
    const code = await desk.code(world.user('alice'), { redirect_uri: 'http://127.0.0.1:4445/callback', state: null });
    const tokens = await granted(await desk.redeem(code));
    assert.equal(decodeJwt(tokens.access_token).aud, world.mcp);
  });

  test('CL-04: are not given for garbage, and the answer is JSON', async () => {
    for (const [type, body] of [
      ['application/json', '{"grant_type":"refresh_token"}'],
      ['application/x-www-form-urlencoded', '%%%=&&&'],
      ['application/x-www-form-urlencoded', ''],
      ['text/plain', 'hello'],
    ]) {
      const headers = { 'content-type': type };
      const response = await fetch(`${world.issuer}/token`, { method: 'POST', headers, body });
      assert.equal(response.status, 400, `${type} ${body}`);
      assert.equal(typeof (await response.json()).error, 'string');
    }
  });
});
