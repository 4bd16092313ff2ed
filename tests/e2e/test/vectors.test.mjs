// Stock libraries judge the tokens of examples/vectors.json, each by the code that the documentation has for it; and so do
// the example backends. What a library lets pass, or refuses though it is good, is in docs/reference/jwt-libraries.md.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, mock, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { blocks, fill } from '../world/docs.mjs';
import { freePort, Service } from '../world/processes.mjs';
import { converse } from '../world/python.mjs';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const FILE = join(ROOT, 'examples/vectors.json');
const { issuer, audience, now, jwks, vectors } = JSON.parse(await readFile(FILE, 'utf8'));
const ALGORITHMS = [...new Set(vectors.map(({ algorithm }) => algorithm))];

const REFERENCE = 'docs/reference/jwt-libraries.md';
const VALIDATE = 'docs/how-to/validate-a-token.md';
const reference = await readFile(join(ROOT, REFERENCE), 'utf8');

/** Where code in Python says that the keys are. */
const PYTHON_KEYS = /f"\{(ISSUER|issuer)\}\/\.well-known\/jwks\.json"/;

let folder;
let server;
let jwksUri;
/** By library: what came of each token. */
const found = {};

describe('with the tokens of examples/vectors.json', { timeout: 120_000 }, () => {
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'procura-vectors-'));
    await symlink(join(ROOT, 'tests/e2e/node_modules'), join(folder, 'node_modules'));
    server = createServer((incoming, response) => {
      const origin = `http://127.0.0.1:${server.address().port}`;
      const metadata = { issuer, jwks_uri: `${origin}/jwks`, authorization_endpoint: `${origin}/authorize`,
        token_endpoint: `${origin}/token`, response_types_supported: ['code'] };
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(incoming.url === '/jwks' ? jwks : metadata));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    jwksUri = `http://127.0.0.1:${server.address().port}/jwks`;
  });
  after(async () => {
    server.close();
    server.closeAllConnections();
    await rm(folder, { recursive: true });
  });

  test('jose', async () => {
    const [code] = await blocks(VALIDATE, 'js');
    await judge('jose', async (algorithm) => {
      const { whoIsCalling } = await load(code, algorithm);
      return (token) => whoIsCalling(`Bearer ${token}`).then(() => 'passes', refusedIf(isJoseError, /nobody acts/));
    });
  });

  test('express-oauth2-jwt-bearer', async () => {
    const code = (await blocks(REFERENCE, 'js')).find((block) => block.includes('express-oauth2-jwt-bearer'));
    await judge('express-oauth2-jwt-bearer', async (algorithm) => {
      const { requireToken } = await load(code, algorithm);
      return (token) =>
        new Promise((resolve) => {
          const headers = { host: new URL(audience).host, authorization: `Bearer ${token}` };
          const get = (name) => headers[name.toLowerCase()];
          const incoming = { method: 'GET', protocol: 'https', url: '/api', headers, get, query: {}, is: () => false };
          requireToken(incoming, {}, (error) => {
            if (!error) return resolve('passes');
            const isRefusal = error.status === 401 && error.headers['WWW-Authenticate'].startsWith('Bearer ');
            // Some are no token to it at all: 400.
            resolve(isRefusal || error.status === 400 ? 'refused' : `breaks: ${error.stack}`);
          });
        });
    });
  });

  test('the MCP SDK for TypeScript', async () => {
    const [code] = await blocks('docs/how-to/connect-an-express-server.md', 'js');
    const home = await mkdtemp(join(tmpdir(), 'procura-vectors-'));
    await symlink(join(ROOT, 'examples/mcp-server-node/node_modules'), join(home, 'node_modules'));
    const services = [];
    try {
      await judge('MCP SDK', async (algorithm) => {
        const port = await freePort();
        const text = fill(code, {
          '`${ISSUER}/.well-known/oauth-authorization-server`': `'${jwksUri.replace('/jwks', '/metadata')}'`,
          'https://records.example.com/mcp': audience,
          'port: 8800': `port: ${port}`,
          "algorithms: ['ES256']": `algorithms: ['${algorithm}']`,
        });
        const path = join(home, `${algorithm}.mjs`);
        await writeFile(path, text);
        const clock = join(ROOT, 'tests/e2e/world/frozen_clock.mjs');
        const env = { ...process.env, FROZEN_AT: String(now) };
        const service = new Service(process.execPath, ['--import', clock, '--max-http-header-size=65536', path], { env });
        services.push(service);
        await service.ready(async () => (await listTools(port)) === 401);
        return async (token) => {
          const status = await listTools(port, token);
          if (status === undefined) return 'not sent';
          // 403: the token is good, and may do nothing here.
          if (status === 200 || status === 403) return 'passes';
          return status === 401 ? 'refused' : `breaks: ${status}`;
        };
      });
    } finally {
      for (const service of services) await service.stop();
      await rm(home, { recursive: true });
    }
  });

  test('the libraries for Python', async (context) => {
    const [pyjwt] = await blocks(VALIDATE, 'python');
    const python = await blocks(REFERENCE, 'python');
    const [fastmcp] = await blocks('docs/how-to/connect-a-fastmcp-server.md', 'python');
    const example = (name) => readFile(join(ROOT, `examples/backends/${name}/caller.py`), 'utf8');
    const codes = {
      PyJWT: pyjwt,
      Authlib: python.find((block) => block.includes('authlib')),
      joserfc: python.find((block) => block.includes('from joserfc import jwt')),
      FastMCP: fill(fastmcp, { 'f"{SERVER}/mcp"': `"${audience}"` }),
      'examples/backends/fastapi': await example('fastapi'),
      'examples/backends/fastmcp': await example('fastmcp'),
    };
    const modules = [];
    for (const [library, code] of Object.entries(codes)) {
      for (const algorithm of ALGORITHMS) {
        const path = join(folder, `${library.replaceAll('/', '_')}_${algorithm}.py`);
        await writeFile(path, code.replace(PYTHON_KEYS, `"${jwksUri}"`).replaceAll('"ES256"', `"${algorithm}"`));
        modules.push({ library, algorithm, path });
      }
    }
    await converse('judge.py', { vectors: FILE, jwks_uri: jwksUri, modules }, ({ library, found: verdicts }) => {
      found[library] = { ...found[library], ...verdicts };
    });
    for (const library of Object.keys(codes)) await context.test(library, () => compare(library));
  });

  test('the example backends in TypeScript', async () => {
    const { callers, InvalidToken } = await import(join(ROOT, 'examples/backends/express/caller.ts'));
    const stock = globalThis.fetch;
    globalThis.fetch = (url, options) => stock(String(url) === `${issuer}/.well-known/jwks.json` ? jwksUri : url, options);
    try {
      await judge('examples/backends/express', async (algorithm) => {
        const callerOf = callers({ issuer, audience, algorithm });
        return (token) => callerOf(token).then(() => 'passes', refusedIf((error) => error instanceof InvalidToken));
      });
    } finally {
      globalThis.fetch = stock;
    }
  });

  test('the documentation names every library that was run here, and no other token', () => {
    const named = new Set(vectors.map(({ name }) => name));
    for (const name of Object.values(exceptions()).flatMap(Object.keys)) assert.ok(named.has(name), name);
    for (const library of Object.keys(found)) assert.ok(library in exceptions(), `${library} has a column`);
  });
});

/** Judges all tokens of each algorithm at the time of the file, and compares. */
async function judge(library, prepare) {
  found[library] = {};
  for (const algorithm of ALGORITHMS) {
    const of = await prepare(algorithm);
    mock.timers.enable({ apis: ['Date'], now: now * 1000 });
    try {
      for (const { name, token } of vectors.filter((vector) => vector.algorithm === algorithm)) {
        found[library][name] = await of(token);
      }
    } finally {
      mock.timers.reset();
    }
  }
  compare(library);
}

/** Good tokens pass and all others are refused, but for those that the documentation names. */
function compare(library) {
  const exception = exceptions()[library] ?? {};
  const expected = {};
  for (const { name, accept, delegated, check } of vectors) {
    if (found[library][name] === 'not sent') continue;
    // None of them looks at `status`; the documentation says so in one sentence.
    const isGood = check === 'status' || (accept && delegated !== false);
    expected[name] = exception[name] ?? (isGood ? 'passes' : 'refused');
  }
  const short = (name) => (expected[name] === 'breaks' ? found[library][name].replace(/:.*/s, '') : found[library][name]);
  const actual = Object.fromEntries(Object.keys(expected).map((name) => [name, short(name)]));
  assert.deepEqual(actual, expected);
  // No exception lets a token pass that every library must refuse.
  for (const { name, stock, accept } of vectors) {
    if (!accept && stock === 'refuse') assert.notEqual(actual[name], 'passes', name);
  }
}

/** The tables of the documentation: by library, the tokens that are judged otherwise than they should be. */
function exceptions() {
  const tables = {};
  for (const table of reference.matchAll(/^\| Token \|(.*)\|\n\|[-| ]+\|\n((?:\|.*\|\n)+)/gm)) {
    const libraries = table[1].split('|').map((cell) => cell.trim().replaceAll('`', ''));
    for (const line of table[2].trim().split('\n')) {
      const [token, ...cells] = line.split('|').slice(1, -1).map((cell) => cell.trim());
      const name = /^`(\w+)`/.exec(token)?.[1] ?? assert.fail(`no token in ${line}`);
      cells.forEach((cell, index) => {
        const column = (tables[libraries[index]] ??= {});
        if (['passes', 'refused', 'breaks'].includes(cell)) column[name] = cell;
        else assert.equal(cell, '', `${line}: ${cell}`);
      });
    }
  }
  return tables;
}

let loaded = 0;

/** The code of a page as a module, for one algorithm, with the keys from here. */
async function load(code, algorithm) {
  const path = join(folder, `code-${(loaded += 1)}.mjs`);
  await writeFile(path, fill(code, { '`${ISSUER}/.well-known/jwks.json`': `'${jwksUri}'`, "'ES256'": `'${algorithm}'` }));
  return import(path);
}

const isJoseError = (error) => typeof error.code === 'string' && error.code.startsWith('ERR_J');

const refusedIf = (isRefusal, message) => (error) =>
  isRefusal(error) || message?.test(error.message) ? 'refused' : `breaks: ${error.stack}`;

/** Asks the MCP server for its tools. Resolves with the status; what no header can hold is not sent. */
function listTools(port, token) {
  return new Promise((resolve, reject) => {
    try {
      const outgoing = request({
        host: '127.0.0.1',
        port,
        path: new URL(audience).pathname,
        method: 'POST',
        headers: {
          host: new URL(audience).hostname,
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
        },
      });
      outgoing.on('error', reject).on('response', (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      outgoing.end(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }));
    } catch (error) {
      if (error.code !== 'ERR_INVALID_CHAR') throw error;
      resolve(undefined);
    }
  });
}
