// What the pages on connecting clients and servers tell people to type works as it stands there.

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { blocks, fill } from '../world/docs.mjs';
import { atTheFrontDoor } from '../world/front_door.mjs';
import { McpClient, SDKS } from '../world/mcp_client.mjs';
import { freePort, run, Service } from '../world/processes.mjs';
import { Procura } from '../world/procura.mjs';
import { converse, PYTHON } from '../world/python.mjs';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

const pages = (await readdir(join(ROOT, 'docs/how-to')))
  .filter((name) => name.startsWith('connect-'))
  .map((name) => `docs/how-to/${name}`);

const SERVERS = {
  'an Express server': {
    page: 'docs/how-to/connect-an-express-server.md',
    language: 'js',
    file: 'server.mjs',
    command: process.execPath,
    fill: (issuer, origin, port) => ({
      'https://auth.example.com': issuer,
      'https://records.example.com/mcp': `${origin}/mcp`,
      'port: 8800': `port: ${port}`,
    }),
  },
  'a FastMCP server': {
    page: 'docs/how-to/connect-a-fastmcp-server.md',
    language: 'python',
    file: 'server.py',
    command: PYTHON,
    fill: (issuer, origin, port) => ({
      'https://auth.example.com': issuer,
      'https://records.example.com': origin,
      'port=8800': `port=${port}`,
    }),
  },
};

const ports = { 'an Express server': await freePort(), 'a FastMCP server': await freePort() };

const registry = () =>
  Object.values(ports)
    .map(
      (port, index) => `
[[resource]]
id = "documented-${index}"
audience = "http://127.0.0.1:${port}/mcp"
name = "Documented ${index}"
token_lifetime_seconds = 900
open_to = ["domain", "self_asserted"]
[[resource.scope]]
name = "records.read"
description = "See your health records"
access = "read"
`,
    )
    .join('');

atTheFrontDoor(
  'the page on',
  (world) => {
    let folder;
    const services = [];

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'procura-docs-'));
      await symlink(join(ROOT, 'examples/mcp-server-node/node_modules'), join(folder, 'node_modules'));
    });
    after(async () => {
      for (const service of services) await service.stop();
      await rm(folder, { recursive: true });
    });

    for (const [what, { page, language, file, command, fill: replacements }] of Object.entries(SERVERS)) {
      test(`${what} has code that runs`, { timeout: 60_000 }, async () => {
        const port = ports[what];
        const url = `http://127.0.0.1:${port}/mcp`;
        const [code] = await blocks(page, language);
        await writeFile(join(folder, file), fill(code, replacements(world.issuer, `http://127.0.0.1:${port}`, port)));
        const service = new Service(command, [join(folder, file)], { cwd: folder });
        services.push(service);
        await service.ready(async () => (await fetch(url, { method: 'POST' })).status === 401);

        const challenge = (await fetch(url, { method: 'POST' })).headers.get('www-authenticate');
        assert.match(challenge, /^Bearer .*resource_metadata="[^"]+\/\.well-known\/oauth-protected-resource\/mcp"/);

        for (const sdk of Object.keys(SDKS)) {
          const client = new McpClient(sdk, url, { redirectUri: `http://127.0.0.1:${await freePort()}/callback` });
          await client.connect(world.user('alice'));
          assert.match(JSON.stringify((await client.call('list_records')).content), /Alice: blood count/);
          await client.close();
        }

        const redirect_uri = `http://127.0.0.1:${await freePort()}/callback`;
        const alice = world.user('alice');
        const said = await converse('client.py', { url, redirect_uri }, async ({ authorize }) => {
          if (authorize) return (await alice.authorize(authorize, redirect_uri)).url;
        });
        assert.match(JSON.stringify(said), /Alice: blood count/);

        const elsewhere = new McpClient('@modelcontextprotocol/client', world.mcp, {
          redirectUri: `http://127.0.0.1:${await freePort()}/callback`,
        });
        await elsewhere.connect(world.user('alice'));
        await elsewhere.close();
        const authorization = `Bearer ${elsewhere.keeper.saved.access_token}`;
        assert.equal((await fetch(url, { method: 'POST', headers: { authorization } })).status, 401);
      });
    }
  },
  { only: 'sqlite', registry },
);

describe('the registry file on', () => {
  let folder;
  let procura;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'procura-docs-'));
    procura = await Procura.create(folder, `sqlite://${join(folder, 'procura.db')}`);
    await procura.cli('migrate');
  });
  after(() => rm(folder, { recursive: true }));

  for (const page of [...pages, 'examples/mcp-server-node/README.md', 'examples/backends/README.md']) {
    test(`${page} is accepted`, async () => {
      const found = await blocks(page, 'toml');
      assert.ok(found.length > 0);
      await writeFile(join(folder, 'page.toml'), found.join('\n'));
      await procura.cli('apply', 'page.toml', '--dry-run');
    });
  }
});

describe('the search on docs/how-to/stop-trusting-x-user-id.md', () => {
  const PLANTED = {
    'Caddyfile': 'header_up X-User-Id {http.auth.user.id}',
    'deploy/routes.yml': 'authResponseHeaders: [X-Forwarded-User]',
    'deploy/values.yaml': 'claim: x-auth-request-email',
    'deploy/nginx.conf.j2': 'proxy_set_header X-WebAuth-User $remote_user;',
    'deploy/compose.override': 'USER_HEADER=Caller',
    'web/page.tsx': "fetch(url, { headers: { 'X-User-Id': id } })",
    'web/page.jsx': 'const h = { "x_user_id": id };',
    'server.mjs': "const user = request.headers['user'];",
    'server.cjs': "request.get('X-Goog-Authenticated-User-Email')",
    'index.php': "$user = $_SERVER['HTTP_X_USER_ID'];",
    'app.rb': "env['HTTP_REMOTE_USER']",
    'Main.kt': 'call.request.header("X-User-ID")',
    'Main.java': 'String user = request.getRemoteUser();',
    'Program.cs': 'Request.Headers["X-UserName"]',
    'not yet added.ex': 'get_req_header(conn, "x-user-id")',
  };
  const INNOCENT = { 'README.md': 'At most max_users users; the header of the page.', 'logo.bin': 'X-User-Id\0' };
  let folder;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'procura-docs-'));
    for (const [name, text] of Object.entries({ ...PLANTED, ...INNOCENT })) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), `first line\n${text}\n`);
    }
    await run('git', ['init', '--quiet'], { cwd: folder });
    await run('git', ['add', '--all', '--', ':!not yet added.ex'], { cwd: folder });
  });
  after(() => rm(folder, { recursive: true }));

  test('finds it in files of every kind', async () => {
    const [page] = await blocks('docs/how-to/stop-trusting-x-user-id.md', 'sh');
    const [names, inRepository, elsewhere] = fill(page, { '/etc/nginx /etc/caddy': '.' }).trim().split('\n');
    for (const search of [inRepository, elsewhere]) {
      const found = await run('sh', ['-c', `${names}\n${search}`], { cwd: folder });
      const lines = found.trim().split('\n').filter((line) => !/^(\.\/)?\.git\//.test(line));
      const expected = Object.entries(PLANTED).map(([name, text]) => `${name}:2:${text}`);
      assert.deepEqual(lines.map((line) => line.replace(/^\.\//, '')).sort(), expected.sort(), search);
    }
  });
});
