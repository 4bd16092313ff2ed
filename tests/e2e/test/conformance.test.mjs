// The authorization mode of the MCP conformance suite, as it is: it reads our metadata, and waits for a person to open
// the URL that it prints.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { atTheFrontDoor } from '../world/front_door.mjs';
import { freePort } from '../world/processes.mjs';

const SUITE = join(import.meta.dirname, '../node_modules/@modelcontextprotocol/conformance/dist/index.js');

atTheFrontDoor('the conformance suite', (world) => {
  test('finds nothing wrong, with a client of the administrator that names no resource', () => passes('desk'));

  test('finds nothing wrong, with a client known by its metadata document', () =>
    passes('https://claude.ai/oauth/claude-code-client-metadata', '--resource', world.mcp));

  async function passes(clientId, ...more) {
    const folder = await mkdtemp(join(tmpdir(), 'procura-conformance-'));
    try {
      const port = await freePort();
      const args = ['authorization', '--url', world.issuer, '--client-id', clientId, '-p', String(port), '-o', folder];
      await run([...args, ...more], `http://127.0.0.1:${port}/callback`);
      const checks = [];
      for (const scenario of await readdir(folder)) {
        checks.push(...JSON.parse(await readFile(join(folder, scenario, 'checks.json'), 'utf8')));
      }
      const ids = checks.map(({ id }) => id).sort();
      const known = ['authorization-code-grant', 'authorization-server-metadata', 'authorization-server-metadata-cimd'];
      assert.deepEqual(ids, known);
      for (const { id, status, errorMessage } of checks) assert.equal(status, 'SUCCESS', `${id}: ${errorMessage}`);
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  async function run(args, redirectUri) {
    const suite = spawn(process.execPath, [SUITE, ...args], { stdio: ['ignore', 'pipe', 'inherit'], timeout: 60_000 });
    const ended = once(suite, 'exit');
    let output = '';
    try {
      for await (const line of createInterface({ input: suite.stdout })) {
        output += `${line}\n`;
        if (!line.startsWith(`${world.issuer}/authorize?`)) continue;
        const { url } = await world.user('alice').authorize(line, redirectUri);
        await (await fetch(url)).text();
      }
    } finally {
      suite.kill();
    }
    assert.deepEqual(await ended, [0, null], output);
  }
});
