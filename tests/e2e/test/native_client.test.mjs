// Clients on the user's own computer (RFC 8252): where a code may go, and what is asked each time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atTheFrontDoor } from '../world/front_door.mjs';
import { OAuthClient } from '../world/oauth_client.mjs';
import { freePort } from '../world/processes.mjs';

atTheFrontDoor('a native client', (world) => {
  const CLAUDE_CODE = 'https://claude.ai/oauth/claude-code-client-metadata';
  const VS_CODE = 'https://vscode.dev/oauth/client-metadata.json';

  /** What the browser is shown at `/authorize` when it is not sent anywhere. */
  const page = async (client_id, redirect_uri, more) => {
    const client = new OAuthClient(world.issuer, { client_id });
    const url = client.authorizationUrl({ redirect_uri, code_challenge: 'x'.repeat(43), resource: world.mcp, ...more });
    return fetch(url, { redirect: 'manual' });
  };

  test('OA-03, NA-01, NA-06: is sent nowhere but to where it is known to be', async () => {
    const elsewhere = [
      [CLAUDE_CODE, 'http://localhost:4444/other'],
      [CLAUDE_CODE, 'http://localhost:4444/callback/'],
      [CLAUDE_CODE, 'http://localhost:4444/callback?more=1'],
      [CLAUDE_CODE, 'https://localhost:4444/callback'],
      [CLAUDE_CODE, 'http://127.0.0.2:4444/callback'],
      [CLAUDE_CODE, 'http://127.0.0.1.evil.test:4444/callback'],
      [CLAUDE_CODE, 'http://localhost.evil.test:4444/callback'],
      [CLAUDE_CODE, 'http://user@localhost:4444/callback'],
      [VS_CODE, 'http://127.0.0.1:33418'],
      [VS_CODE, 'http://localhost:33418/'],
      [VS_CODE, 'https://vscode.dev/redirect/'],
      [VS_CODE, 'https://vscode.dev:8443/redirect'],
      ['nobody', 'https://app.example.com/callback'],
    ];
    for (const [id, uri] of elsewhere) {
      const response = await page(id, uri);
      assert.equal(response.status, 400, `${id} ${uri}`);
      assert.equal(response.headers.get('location'), null);
      assert.match(response.headers.get('content-type'), /^text\/html/);
      assert.equal((await response.text()).includes('http-equiv="refresh"'), false, 'it is sent on all the same');
    }
  });

  test('NA-04: is asked about each time, whatever was allowed before', async () => {
    const client = new OAuthClient(world.issuer, { client_id: CLAUDE_CODE });
    const bob = world.user('bob');
    for (let time = 0; time < 2; time += 1) {
      const redirect_uri = `http://localhost:${await freePort()}/callback`;
      const { consent } = await client.code(bob, { redirect_uri, resource: world.mcp, scope: 'records.read' });
      assert.ok(consent, `no page was shown the ${time + 1}. time`);
    }
  });

  test('CM-12: is shown by the host of its document, not by its name alone', async () => {
    const client = new OAuthClient(world.issuer, { client_id: CLAUDE_CODE });
    const redirect_uri = `http://localhost:${await freePort()}/callback`;
    const { consent } = await client.code(world.user('alice'), { redirect_uri, resource: world.mcp });
    assert.ok(consent.text.includes('claude.ai'), consent.text);
  });

  test('PK-02, OA-08, OA-09: is sent back with the error when it asks wrongly', async () => {
    const redirect_uri = 'http://127.0.0.1:4444/callback';
    const wrong = [
      [{ code_challenge: undefined, code_challenge_method: undefined }, 'invalid_request'],
      [{ code_challenge_method: 'plain' }, 'invalid_request'],
      [{ code_challenge_method: undefined }, 'invalid_request'],
      [{ response_type: 'token' }, 'unsupported_response_type'],
      [{ resource: 'https://elsewhere.example.com/mcp' }, 'invalid_target'],
    ];
    for (const [parameters, error] of wrong) {
      const response = await page('desk', redirect_uri, { state: 'the-state', ...parameters });
      const target = await sentTo(response);
      assert.ok(target.href.startsWith(redirect_uri), target.href);
      assert.deepEqual(
        ['error', 'state', 'iss', 'code'].map((name) => target.searchParams.get(name)),
        [error, 'the-state', world.issuer, null],
      );
    }
  });

  /** Where a page sends the browser: by a redirect, or by what the page says. */
  async function sentTo(response) {
    const location = response.headers.get('location');
    if (location) return new URL(location);
    const html = await response.text();
    const [, target] =
      /http-equiv="refresh"[^>]*url=([^">]+)/i.exec(html) ?? assert.fail(`${response.status}: ${html}`);
    return new URL(target.replaceAll('&amp;', '&').replaceAll('&#x26;', '&').replaceAll('&#38;', '&'));
  }
});
