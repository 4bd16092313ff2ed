// A84: the code reaches the client whatever its redirect URI is: another site, this computer, a program, and a site that
// goes on to a program. Chromium applies `form-action` to all of it (docs/decisions/0024).

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { withPages } from '../world/pages_world.mjs';

withPages(
  'on to the client',
  (world) => {
    for (const script of [true, false]) {
      for (const redirect of [
        'https://client.example.invalid/callback',
        'http://localhost:PORT/callback',
        'http://127.0.0.1:PORT/on',
        'cursor://anysphere.cursor-mcp/oauth/callback',
      ]) {
        test(`a84 Allow sends the code to ${redirect}, ${script ? 'with' : 'without'} script`, async () => {
          const client = await listen();
          try {
            const redirect_uri = redirect.replace('PORT', client.address().port);
            const page = await world.browser.page({ script });
            const program = redirect.endsWith('/on') && page.waitForRequest((request) => request.url().startsWith('claude:'));
            await page.goto(
              await world.authorization('connector', redirect_uri, { scope: 'records.read', prompt: 'consent' }),
            );
            await world.signIn(page, 'alice');
            const sent = page.waitForRequest((request) => request.url().startsWith(redirect_uri));
            await page.getByRole('button', { name: 'Allow', exact: true }).click();
            const { searchParams } = new URL((await sent).url());
            assert.ok(searchParams.get('code') && searchParams.get('iss') === world.procura.issuer, String(searchParams));
            if (program) assert.match((await program).url(), /code=/);
            await page.context().close();
          } finally {
            client.closeAllConnections();
            client.close();
          }
        });
      }
    }
  },
  { only: 'sqlite' },
);

/** A client that waits on this computer; at `/on` it goes on to a program, as desktop apps do. */
async function listen() {
  const server = createServer((request, response) => {
    const { pathname, search } = new URL(request.url, 'http://localhost');
    if (pathname === '/on') response.writeHead(302, { location: `claude://callback${search}` });
    response.end();
  }).listen(0);
  await once(server, 'listening');
  return server;
}
