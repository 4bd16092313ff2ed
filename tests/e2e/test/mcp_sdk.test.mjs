// The MCP TypeScript SDK, as it is, against a real MCP server: discovery, registration in each way, sign-in, consent,
// token, tools, the second backend, refresh. Both generations of the SDK: most clients still carry the first.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeJwt } from 'jose';
import { freePort } from '../world/processes.mjs';
import { ALICE, atTheFrontDoor } from '../world/front_door.mjs';
import { McpClient, SDKS } from '../world/mcp_client.mjs';

/** A client's own document; the server has a copy of it for when the network can't be reached, as here. */
const CLAUDE_CODE = 'https://claude.ai/oauth/claude-code-client-metadata';

for (const sdk of Object.keys(SDKS)) {
  atTheFrontDoor(`a client of ${sdk}`, (world) => {
    const loopback = async (path = '/callback') => `http://127.0.0.1:${await freePort()}${path}`;

    const registrations = {
      'by its metadata document': async () => ({ redirectUri: await loopback(), clientMetadataUrl: CLAUDE_CODE }),
      'by dynamic registration': async () => ({ redirectUri: await loopback() }),
      'that the administrator registered': async () => ({
        redirectUri: await loopback(),
        clientId: 'desk',
        issuer: world.issuer,
      }),
    };

    for (const [how, registration] of Object.entries(registrations)) {
      describe(`known ${how}`, () => {
        test("sees the user's own rows, and nobody else's", async () => {
          const client = new McpClient(sdk, world.mcp, await registration());
          const consent = await client.connect(world.user('alice'));
          assert.match(consent.text, /See your health records/);
          assert.ok(consent.text.includes('127.0.0.1'), 'the page does not say where the code goes');

          const { structuredContent } = await client.call('list_records');
          assert.deepEqual(structuredContent.lines, ALICE);
          assert.equal(structuredContent.for, 'corp|alice');
          assert.equal(structuredContent.by, client.keeper.client.client_id);

          const claims = decodeJwt(client.keeper.saved.access_token);
          assert.equal(claims.aud, world.mcp);
          assert.equal(claims.client_id, client.keeper.client.client_id);
          assert.deepEqual(claims.act, { sub: claims.client_id, iss: world.issuer });
          assert.equal(client.keeper.saved.token_type, 'Bearer');
          assert.equal(client.era, sdk === '@modelcontextprotocol/client' ? 'modern' : 'legacy');
          await client.close();

          const bobs = new McpClient(sdk, world.mcp, await registration());
          await bobs.connect(world.user('bob'));
          const rows = (await bobs.call('list_records')).structuredContent.lines;
          assert.equal(rows.length, 4);
          assert.ok(rows.every((row) => row.startsWith('Bob: ')));
          await bobs.close();
        });
      });
    }

    test('registers when there is no document, and not when there is one', async () => {
      const paths = async (registration) => {
        const client = new McpClient(sdk, world.mcp, registration);
        await client.connect(world.user('alice'));
        await client.close();
        return { paths: client.sent.map(([path]) => path), id: client.keeper.client.client_id };
      };
      const document = await paths({ redirectUri: await loopback(), clientMetadataUrl: CLAUDE_CODE });
      assert.equal(document.paths.includes('/register'), false);
      assert.equal(document.id, CLAUDE_CODE);
      const registered = await paths({ redirectUri: await loopback() });
      assert.equal(registered.paths.filter((path) => path === '/register').length, 1);
      assert.equal(/^https:/.test(registered.id), false);
    });

    test('gets a new token by itself when the old one has expired', async () => {
      const client = new McpClient(sdk, world.mcp, { redirectUri: await loopback() });
      await client.connect(world.user('alice'));
      const before = client.keeper.saved;
      assert.ok(before.refresh_token, 'there is no refresh token');
      assert.ok(before.expires_in > 300, 'connectors refresh up to five minutes early');

      world.ahead = before.expires_in + 1;
      client.sent = [];
      client.onRequest = (path) => {
        if (path === '/token') world.ahead = 0;
      };
      try {
        assert.deepEqual((await client.call('list_records')).structuredContent.lines, ALICE);
      } finally {
        world.ahead = 0;
      }
      const [, parameters] = client.sent.find(([path]) => path === '/token');
      assert.equal(parameters.grant_type, 'refresh_token');
      const after = client.keeper.saved;
      assert.notEqual(after.access_token, before.access_token);
      assert.notEqual(after.refresh_token, before.refresh_token);
      assert.equal(decodeJwt(after.access_token).sub, 'corp|alice');
      await client.close();
    });

    test('is told by the server to send the user to Procura, where they let the server ask the models', async () => {
      const client = new McpClient(sdk, world.mcp, { redirectUri: await loopback() });
      const carol = world.user('carol');
      await client.connect(carol);
      const question = { question: 'Am I well?' };
      const asked = [];
      const allow = async (url) => {
        asked.push(url);
        await carol.follow(url);
      };
      let answer;
      if (client.era === 'modern') {
        client.onElicitation = allow;
        answer = await client.call('ask_model', question);
      } else {
        const refusal = await client.call('ask_model', question).then(assert.fail, (error) => error);
        assert.ok(refusal instanceof client.UrlElicitationRequired, refusal.stack);
        for (const { url } of refusal.elicitations) await allow(url);
        answer = await client.call('ask_model', question);
      }
      assert.equal(asked.length, 1);
      assert.ok(asked[0].startsWith(`${world.issuer}/consent/`), asked[0]);
      assert.equal(answer.isError ?? false, false, JSON.stringify(answer));
      assert.deepEqual(answer.structuredContent, {
        lines: ['You asked: Am I well?'],
        for: 'corp|carol',
        by: 'records-mcp',
        through: client.keeper.client.client_id,
      });

      client.onElicitation = () => assert.fail('asked twice');
      assert.equal((await client.call('ask_model', question)).structuredContent.for, 'corp|carol');
      await client.close();
    });

    test('whose user says no is told so', async () => {
      const client = new McpClient(sdk, world.mcp, { redirectUri: await loopback() });
      const refused = client.connect(world.user('bob'), { deny: true });
      await assert.rejects(refused, /access_denied/);
    });
  });
}
