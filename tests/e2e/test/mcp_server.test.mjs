// The MCP server of examples/: what it tells a client that has no token, and which tokens it takes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atTheFrontDoor } from '../world/front_door.mjs';
import { granted, OAuthClient } from '../world/oauth_client.mjs';

const REDIRECT_URI = 'http://127.0.0.1:4447/callback';

atTheFrontDoor('the example MCP server', (world) => {
  const call = (authorization, url = world.mcp) =>
    fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...(authorization && { authorization }),
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
    });

  const tokens = async (user) => {
    const client = new OAuthClient(world.issuer, { client_id: 'desk' });
    return granted(await client.redeem(await client.code(world.user(user), { redirect_uri: REDIRECT_URI })));
  };

  const wellKnown = (rest) => new URL(`/.well-known/oauth-protected-resource${rest}`, world.mcp).href;

  test('MC-20, MC-21, MC-22: tells a client where to go, and what to ask for', async () => {
    const response = await call();
    assert.equal(response.status, 401);
    const challenge = response.headers.get('www-authenticate');
    assert.match(challenge, /^Bearer /);
    assert.ok(challenge.includes(`resource_metadata="${wellKnown('/mcp')}"`), challenge);
    assert.ok(challenge.includes('scope="records.read"'), challenge);
    assert.match(response.headers.get('access-control-expose-headers'), /WWW-Authenticate/i);

    for (const url of [wellKnown('/mcp'), wellKnown('')]) {
      const document = await (await fetch(url)).json();
      assert.equal(document.resource, world.mcp, 'CL-07: as it is typed, path included');
      assert.deepEqual(document.authorization_servers, [world.issuer]);
      assert.deepEqual(document.scopes_supported, ['records.read'], 'MC-13: no offline_access here');
    }
  });

  test('MC-14: has our metadata at its own address, for clients that look there', async () => {
    const own = await fetch(new URL('/.well-known/oauth-authorization-server', world.mcp));
    assert.deepEqual(await own.json(), await world.metadata());
  });

  test('MC-23, MC-24: takes tokens for itself only, and in the header only', async () => {
    const { access_token, id_token, refresh_token } = await tokens('alice');
    assert.equal((await call(`Bearer ${access_token}`)).status, 200);
    assert.equal((await call(undefined, `${world.mcp}?access_token=${access_token}`)).status, 401);
    const altered = `${access_token.slice(0, -4)}AAAA`;
    const others = [await world.idp.signIn('alice'), altered, refresh_token, id_token, 'x'].filter(Boolean);
    for (const other of others) assert.equal((await call(`Bearer ${other}`)).status, 401);

    world.ahead = 24 * 3600;
    try {
      assert.equal((await call(`Bearer ${access_token}`)).status, 401);
    } finally {
      world.ahead = 0;
    }
  });

  test('its backend does not take the token that the client has', async () => {
    const { access_token } = await tokens('alice');
    const headers = { authorization: `Bearer ${access_token}`, 'content-type': 'application/json' };
    const response = await fetch(world.models, { method: 'POST', headers, body: '{"question":"?"}' });
    assert.equal(response.status, 401);
  });
});
