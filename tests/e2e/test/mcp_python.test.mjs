// The Python `mcp` package, as it is, against the same MCP server: discovery, registration, sign-in, consent, token,
// tools, refresh, and the consent that the server asks for.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeJwt } from 'jose';
import { ALICE, atTheFrontDoor } from '../world/front_door.mjs';
import { freePort } from '../world/processes.mjs';
import { converse } from '../world/python.mjs';

const CLAUDE_CODE = 'https://claude.ai/oauth/claude-code-client-metadata';

atTheFrontDoor('a client of the Python package', (world) => {
  const registrations = {
    'its metadata document': { client_metadata_url: CLAUDE_CODE },
    'dynamic registration': {},
    'the administrator': { client_id: 'desk' },
  };
  for (const [how, registration] of Object.entries(registrations)) {
    test(`known by ${how} sees the user's rows, refreshes, and gets to the models`, async () => {
      const redirect_uri = `http://127.0.0.1:${await freePort()}/callback`;
      const alice = world.user('alice');
      const opened = [];
      const said = await converse('client.py', { url: world.mcp, redirect_uri, ...registration }, async (what) => {
        if (what.authorize) return (await alice.authorize(what.authorize, redirect_uri)).url;
        if (what.elicit) {
          opened.push(what.elicit);
          await alice.follow(what.elicit);
          return 'done';
        }
      });
      const [first, second] = said.filter(({ rows }) => rows);
      for (const { rows } of [first, second]) {
        assert.deepEqual(rows, { for: 'corp|alice', by: first.client_id, lines: ALICE });
      }
      assert.equal(decodeJwt(first.tokens.access_token).aud, world.mcp);
      assert.notEqual(second.tokens.access_token, first.tokens.access_token);
      assert.notEqual(second.tokens.refresh_token, first.tokens.refresh_token);

      const { model } = said.find((what) => 'model' in what);
      assert.deepEqual([model.for, model.by, model.through], ['corp|alice', 'records-mcp', first.client_id]);
      for (const url of opened) assert.ok(url.startsWith(`${world.issuer}/consent/`), url);
    });
  }
});
