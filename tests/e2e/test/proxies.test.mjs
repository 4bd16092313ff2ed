// A real proxy in front of a plain backend, by the configuration of the documentation: who gets through, what the backend
// learns, and how a client that is refused finds the authorization server.

import assert from 'node:assert/strict';
import { request as send } from 'node:http';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { decodeJwt, generateKeyPair, SignJWT } from 'jose';
import { blocks, fill } from '../world/docs.mjs';
import { atTheFrontDoor } from '../world/front_door.mjs';
import { McpClient, SDKS } from '../world/mcp_client.mjs';
import { eventually, freePort } from '../world/processes.mjs';
import { PAGE, PlainBackend, PROXIES } from '../world/proxy.mjs';
import { MODELS, RECORDS, registry } from '../world/registry.mjs';
import { onEachDatabase, World } from '../world/world.mjs';

const E2E = fileURLToPath(new URL('..', import.meta.url));

const ALL = ['records.read', 'records.write', 'records.delete'];

/** The backend is the page's own, and is told all that there is about a user. */
class BehindProxies extends World {
  async start() {
    const [page] = await blocks(PAGE, 'toml');
    const resource = fill(page, {
      'name = "Health records"': `name = "Health records"\nrelease_claims = ["roles", "groups", "email"]`,
    });
    this.registry = (parties) => {
      const all = registry(parties);
      const [from, to] = [all.indexOf('[[resource]]'), all.lastIndexOf('[[resource]]')];
      return fill(`${all.slice(0, from)}${resource}${all.slice(to)}`, {
        'roles = "/roles",': 'roles = "/roles", groups = "/groups",',
        'records = ["records.read", "records.delete"]': `records = ${JSON.stringify(ALL)}`,
      });
    };
    await super.start();
  }
}

/** The name under which a backend has a header that asks as a CGI program does. */
const asCgi = (name) => name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');

/** The code of the page that reads the header, for this issuer and audience. */
async function callerReader(folder, issuer, audience) {
  const [code] = await blocks(PAGE, 'js');
  const file = join(folder, `caller-${crypto.randomUUID()}.mjs`);
  await symlink(join(E2E, 'node_modules'), join(folder, 'node_modules')).catch(() => {});
  await writeFile(file, fill(code, { 'https://auth.example.com': issuer, [RECORDS]: audience }));
  return (await import(pathToFileURL(file))).whoIsCalling;
}

/** Starts a proxy and waits until it answers. */
async function started(name, options) {
  const proxy = await PROXIES[name](options);
  await proxy.ready(async () => (await fetch(`http://127.0.0.1:${options.port}/api`)).status === 401);
  return proxy;
}

/** By node:http, which sends each header as it is told to. */
function call(port, path, { method = 'GET', headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const request = send({ host: '127.0.0.1', port, path, method, headers, timeout: 10_000 }, async (response) => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      resolve({ status: response.statusCode, challenges: response.headersDistinct['www-authenticate'] ?? [], text });
    });
    request.on('error', reject);
    request.end(body);
  });
}

onEachDatabase(
  'a plain backend',
  (world) => {
    for (const name of Object.keys(PROXIES)) {
      describe(`behind ${name}`, () => {
        let folder, backend, proxy, port, whoIsCalling;

        before(async () => {
          folder = await mkdtemp(join(tmpdir(), 'procura-proxy-'));
          backend = await PlainBackend.start();
          port = await freePort();
          const procura = new URL(world.procura.issuer).port;
          proxy = await started(name, { folder, port, procura, backend: backend.port });
          whoIsCalling = await callerReader(folder, world.procura.issuer, RECORDS);
        });
        after(async () => {
          await proxy?.stop();
          await backend?.stop();
          await rm(folder, { recursive: true, force: true });
        });

        const token = async (client = 'assistant', parameters = { scope: 'records.read' }) =>
          (await world.exchange(client, await world.idp.signIn('alice'), parameters)).access_token;
        const bearer = (value) => ({ authorization: `Bearer ${value}` });

        /** Asserts that the backend was not reached, and what the client hears. */
        async function refused(what, headers, status, challenge, options = {}) {
          const answer = await call(port, '/api/records', { headers, ...options });
          assert.equal(answer.status, status, `${what}: ${answer.text}`);
          assert.equal(answer.challenges.length, 1, `${what}: ${answer.challenges}`);
          assert.match(answer.challenges[0], challenge, what);
          assert.ok(
            answer.challenges[0].endsWith(
              `resource_metadata="${world.procura.issuer}/.well-known/oauth-protected-resource/records"`,
            ),
            answer.challenges[0],
          );
          assert.ok(!answer.text.includes('"names"'), `${what}: the backend was reached`);
        }

        test('lets a good token pass, and tells the backend who is calling', async () => {
          const good = await token();
          const answer = await call(port, '/api/records?page=2', { headers: bearer(good) });
          assert.equal(answer.status, 200, answer.text);
          const seen = JSON.parse(answer.text);
          assert.deepEqual([seen.method, seen.url], ['GET', '/api/records?page=2']);
          const { jti } = decodeJwt(good);
          assert.deepEqual(await whoIsCalling(seen.headers), {
            user: 'corp|alice',
            actor: 'assistant',
            scopes: ['records.read'],
            jti,
          });
          assert.equal(seen.headers.authorization, undefined, 'the token stays with the proxy');
          assert.ok(!answer.text.includes(good.split('.')[2]));
          const { exp, iat } = decodeJwt(seen.headers['x-procura-caller']);
          assert.ok(exp - iat <= 60, 'the header is for this request');
          assert.match(await world.procura.cli('who', jti), /corp\|alice/);
        });

        test('takes a body along, and asks with none', async () => {
          const writes = await token('assistant', { scope: 'records.write' });
          const headers = { ...bearer(writes), 'content-type': 'text/plain' };
          const answer = await call(port, '/api/records', { method: 'POST', headers, body: 'x'.repeat(100_000) });
          assert.equal(answer.status, 200, answer.text);
          assert.deepEqual([JSON.parse(answer.text).method, JSON.parse(answer.text).body.length], ['POST', 100_000]);
        });

        test('lets nothing through that the caller wrote in the place of the proxy', async () => {
          const { privateKey } = await generateKeyPair('ES256');
          const forged = await new SignJWT({ ...decodeJwt(await token()), sub: 'corp|bob' })
            .setProtectedHeader({ alg: 'ES256', typ: 'procura-caller+jwt' })
            .sign(privateKey);
          const evil = { 'X-Procura-Caller': forged, 'x-user-id': 'corp|bob', 'X-Forwarded-Uri': '/forward-auth/models' };
          const { status, text } = await call(port, '/api', { headers: { ...bearer(await token()), ...evil } });
          assert.equal(status, 200, text);
          const { headers, names } = JSON.parse(text);
          assert.equal(names.filter((header) => header.toLowerCase() === 'x-procura-caller').length, 1, names.join());
          assert.equal((await whoIsCalling(headers)).user, 'corp|alice');
          assert.ok(!text.includes(forged.split('.')[2]) && !names.some((header) => /^x-user-id$/i.test(header)), text);
          await assert.rejects(whoIsCalling({ 'x-procura-caller': forged }));
          await refused('only a forged header', evil, 401, /^Bearer scope="records.read", resource_metadata/);
        });

        test('refuses a missing, a foreign and an altered token', async () => {
          const good = await token();
          const [head, , tail] = good.split('.');
          const claims = Buffer.from(JSON.stringify({ ...decodeJwt(good), sub: 'corp|bob' })).toString('base64url');
          const { privateKey } = await generateKeyPair('ES256');
          const other = { alg: 'ES256', typ: 'at+jwt', kid: 'other' };
          const elsewhere = await new SignJWT({ ...decodeJwt(good), iss: 'https://other.example' })
            .setProtectedHeader(other)
            .sign(privateKey);
          const invalid = (why) => new RegExp(`^Bearer error="invalid_token", error_description="${why}`);
          await refused('no token', {}, 401, /^Bearer scope="records.read", resource_metadata/);
          const two = [`Bearer ${good}`, `Bearer ${good}`];
          const answer = await call(port, '/api', { headers: { authorization: two } });
          // nginx itself refuses two such headers, and asks nobody.
          assert.equal(answer.status, name === 'nginx' ? 400 : 401, answer.text);
          assert.ok(!answer.text.includes('"names"'), 'two tokens: the backend was reached');
          await refused('Basic', { authorization: 'Basic YTpi' }, 401, /^Bearer scope=/);
          await refused('an ID token', bearer(await world.idp.signIn('alice')), 401, invalid('This is not an access'));
          await refused('another issuer', bearer(elsewhere), 401, invalid('This is not an access token'));
          await refused('altered', bearer([head, claims, tail].join('.')), 401, invalid('This is not an access token'));
          const models = await token('assistant', { resource: MODELS, scope: 'model.general' });
          await refused('another backend', bearer(models), 401, invalid('The token is for another backend'));
        });

        test('refuses a token that has expired, and one that was taken back at once', async () => {
          const grant = (...more) =>
            world.procura.json(
              'consent', 'grant', '--user', 'corp|alice', '--client', 'companion', '--resource', 'records',
              '--scope', 'records.read', ...more);
          const idToken = await world.idp.signIn('alice');
          const got = (id) =>
            eventually(
              async () => {
                const { access_token } = await world.exchange('companion', idToken, { scope: 'records.read' });
                return decodeJwt(access_token).grant_id === id && access_token;
              },
              { what: 'the server to learn of the consent', seconds: 5 },
            );
          const status = async (value) => (await call(port, '/api', { headers: bearer(value) })).status;

          // A token ends no later than the consent that it rests on: that is how one is had that ends soon.
          const short = await got((await grant('--expires-in', '4')).id);
          assert.equal(await status(short), 200);
          await eventually(async () => (await status(short)) === 401, { what: 'the token to expire', seconds: 8 });
          await refused('expired', bearer(short), 401, /error_description="The token has expired\."/);

          const { id } = await grant();
          const taken = await got(id);
          assert.equal(await status(taken), 200);
          await world.procura.cli('consent', 'revoke', id);
          await eventually(async () => (await status(taken)) === 401, { what: 'the revocation', seconds: 3 });
          await refused('revoked', bearer(taken), 401, /error_description="The token was taken back\."/);
        });

        test('asks for the scope that the method needs, and for the strongest if it knows no better', async () => {
          const needed = {
            'records.read': ['GET', 'HEAD'],
            'records.write': ['POST', 'PUT', 'PATCH'],
            'records.delete': ['DELETE', 'OPTIONS', 'PROPFIND', 'LOCK'],
          };
          for (const [scope, methods] of Object.entries(needed)) {
            const enough = await token('assistant', { scope });
            const others = await token('assistant', { scope: ALL.filter((other) => other !== scope).join(' ') });
            const challenge = new RegExp(`^Bearer error="insufficient_scope".*, scope="${scope}", resource_metadata`);
            for (const method of methods) {
              await refused(`${method} without ${scope}`, bearer(others), 403, challenge, { method });
              const answer = await call(port, '/api/records/7', { method, headers: bearer(enough) });
              assert.equal(answer.status, 200, `${method} with ${scope}: ${answer.text}`);
              if (method !== 'HEAD') assert.equal(JSON.parse(answer.text).method, method);
            }
          }
        });

        test('lets a user through who has as many roles and groups as a token holds', async () => {
          const idToken = await world.idp.signIn('dora');
          const { access_token } = await world.exchange('assistant', idToken, { scope: 'records.read' });
          const { roles, groups, email } = decodeJwt(access_token);
          assert.deepEqual([roles.length, groups.length, email.length > 200], [100, 100, true]);
          const answer = await call(port, '/api/records', { headers: bearer(access_token) });
          assert.equal(answer.status, 200, answer.text);
          const { headers } = JSON.parse(answer.text);
          assert.ok(headers['x-procura-caller'].length > 4096, String(headers['x-procura-caller'].length));
          assert.equal((await whoIsCalling(headers)).user, 'corp|dora');
          assert.deepEqual(decodeJwt(headers['x-procura-caller']).groups, groups);
        });

        test('tells who is calling also when the caller says that the header is for the proxy only', async () => {
          const good = await token();
          for (const connection of ['X-Procura-Caller', 'close, x-procura-caller', ['keep-alive', 'X-Procura-Caller']]) {
            const answer = await call(port, '/api', { headers: { ...bearer(good), connection } });
            assert.equal(answer.status, 200, `${connection}: ${answer.text}`);
            assert.equal((await whoIsCalling(JSON.parse(answer.text).headers)).user, 'corp|alice', `${connection}`);
          }
        });

        test('lets no header through that a CGI program would take for its own', async () => {
          const aliases = ['X_Procura_Caller', 'X-Procura_Caller', 'x_procura-caller', 'X.Procura.Caller', 'X_User_Id'];
          const evil = Object.fromEntries(aliases.map((header) => [header, 'evil']));
          const { status, text } = await call(port, '/api', { headers: { ...bearer(await token()), ...evil } });
          assert.equal(status, 200, text);
          const names = JSON.parse(text).names.map(asCgi);
          assert.equal(names.filter((header) => header === 'X_PROCURA_CALLER').length, 1, text);
          assert.ok(!names.includes('X_USER_ID') && !text.includes('evil'), text);
        });

        test('is believed by a backend only if it sent one header', async () => {
          const { text } = await call(port, '/api', { headers: bearer(await token()) });
          const { headers } = JSON.parse(text);
          const caller = headers['x-procura-caller'];
          const seen = async (values) => {
            const direct = await call(backend.port, '/api', { headers: { 'X-Procura-Caller': values } });
            return JSON.parse(direct.text);
          };
          for (const values of [[], [''], [caller, caller], ['evil', caller], [caller, 'evil']]) {
            const { headers, names } = await seen(values);
            assert.equal(names.filter((header) => header === 'X-Procura-Caller').length, values.length);
            await assert.rejects(whoIsCalling(headers), `${values.length} of them: ${values}`);
          }
          assert.equal((await whoIsCalling((await seen([caller])).headers)).user, 'corp|alice');
        });

        if (name === 'nginx') {
          test('is asked at no address of the outside', async () => {
            assert.equal((await call(port, '/_procura', { headers: bearer(await token()) })).status, 404);
          });
        }
      });
    }
  },
  { only: 'sqlite', make: (database) => new BehindProxies(database) },
);

const ports = {};
for (const name of Object.keys(PROXIES)) ports[name] = await freePort();

// What each asks by method, where all that an MCP server does is a POST.
const each = ALL.map((scope) => `records,scope=${scope}`);
const ONE_SCOPE = { nginx: ['records,scope=$needed'], caddy: ['records,scope={vars.needed}'], traefik: each, envoy: each };

const audience = (name) => `http://127.0.0.1:${ports[name]}/api`;

atTheFrontDoor(
  'an MCP server without any sign-in of its own',
  (world) => {
    for (const name of Object.keys(PROXIES)) {
      describe(`behind ${name}`, () => {
        let folder, backend, proxy;

        before(async () => {
          folder = await mkdtemp(join(tmpdir(), 'procura-proxy-'));
          const whoIsCalling = await callerReader(folder, world.issuer, audience(name));
          backend = await PlainBackend.start((request, response) => answerMcp(request, response, whoIsCalling));
          const settings = Object.fromEntries(
            ONE_SCOPE[name].map((asked) => [`/forward-auth/${asked}`, `/forward-auth/behind-${name},scope=records.read`]),
          );
          if (name === 'nginx') settings['Host $host;'] = 'Host $http_host;';
          const procura = new URL(world.issuer).port;
          proxy = await started(name, { folder, port: ports[name], procura, backend: backend.port, settings });
        });
        after(async () => {
          await proxy?.stop();
          await backend?.stop();
          await rm(folder, { recursive: true, force: true });
        });

        test('is found by clients, which then act for their user', { timeout: 60_000 }, async () => {
          const wellKnown = audience(name).replace('/api', '/.well-known/oauth-protected-resource/api');
          const document = await (await fetch(wellKnown)).json();
          assert.deepEqual(
            [document.resource, document.authorization_servers, document.scopes_supported],
            [audience(name), [world.issuer], ['records.read']],
          );
          for (const sdk of Object.keys(SDKS)) {
            const redirectUri = `http://127.0.0.1:${await freePort()}/callback`;
            const client = new McpClient(sdk, audience(name), { redirectUri });
            await client.connect(world.user('alice'));
            const { content } = await client.call('who_am_i');
            assert.match(JSON.stringify(content), /corp\|alice by dcr_/);
            await client.close();
          }
        });
      });
    }
  },
  {
    only: 'sqlite',
    registry: () =>
      Object.keys(PROXIES)
        .map(
          (name) => `
[[resource]]
id = "behind-${name}"
audience = "${audience(name)}"
name = "Behind ${name}"
open_to = ["domain", "self_asserted"]
[[resource.scope]]
name = "records.read"
description = "See your health records"
access = "read"
`,
        )
        .join(''),
  },
);

/** An MCP server as it is written where nobody has to prove anything. */
async function answerMcp(request, response, whoIsCalling) {
  const server = new McpServer({ name: 'plain', version: '1.0.0' });
  server.registerTool('who_am_i', { description: 'Says who calls' }, async ({ requestInfo }) => {
    const { user, actor } = await whoIsCalling(requestInfo.headers);
    return { content: [{ type: 'text', text: `${user} by ${actor}` }] };
  });
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  response.on('close', () => void server.close());
  await server.connect(transport);
  await transport.handleRequest(request, response);
}
