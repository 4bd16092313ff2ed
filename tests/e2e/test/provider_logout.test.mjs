// The user signs out at their identity provider, which tells Procura (OpenID Connect Back-Channel Logout).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atTheFrontDoor } from '../world/front_door.mjs';
import { granted, OAuthClient, refusedWith } from '../world/oauth_client.mjs';

atTheFrontDoor('a logout at the provider', (world) => {
  const redirect_uri = 'http://localhost:4444/callback';
  const client = () =>
    new OAuthClient(world.issuer, { client_id: 'https://claude.ai/oauth/claude-code-client-metadata' });
  const connect = async (user) => {
    const code = await client().code(user, { redirect_uri, resource: world.mcp });
    return granted(await client().redeem(code));
  };
  const signedOut = async (user) => {
    const page = await user.browser.open(`${world.idp.issuer}/session/end`);
    return user.browser.submit(page, page.forms[0], { button: { name: 'logout', value: 'yes' } });
  };

  test('SS-01, A67: ends what clients got by that sign-in, and nothing else', async () => {
    const [home, office, bob] = [world.user('alice'), world.user('alice'), world.user('bob')];
    const tokens = [];
    for (const user of [home, office, bob]) tokens.push(await connect(user));
    await signedOut(home);
    // The provider tells of it before its answer goes out.
    await refusedWith(await client().refresh(tokens[0].refresh_token), 400, 'invalid_grant');
    await granted(await client().refresh(tokens[1].refresh_token));
    await granted(await client().refresh(tokens[2].refresh_token));
    const account = await home.browser.open(`${world.issuer}/account`);
    assert.ok(account.url.href.startsWith(world.idp.issuer), `she is still signed in: ${account.url}`);
  });
});
