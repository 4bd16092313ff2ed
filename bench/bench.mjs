// `make bench`: what one core does, on both databases, beside oidc-provider, a bare axum server and the bare signatures.
//
// BENCH_SECONDS (5): how long each figure is measured. BENCH_ROUNDS (1): how often; the median counts.
// BENCH_ONLY: only what has these words in its name: targets (speed, floor, peer, sqlite, postgres), kinds (es256, rs256,
// own, client_credentials, jwks, and for a backend with a status list: listed, its exchanges, and forward_auth).
// BENCH_CONNECTIONS ("1 16 64"). BENCH_TOKENS (20000): distinct subject tokens, each of another user. BENCH_REALTIME=1, as
// root: before whatever else runs on the machine. BENCH_SAVE=name: write bench/results/name.{json,md} and not below the
// target folder.

import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../tests/e2e/world/processes.mjs';
import { APP, Issuer } from './issuer.mjs';
import { Requests } from './load.mjs';
import { Measured, SERVER_CORE, on } from './process.mjs';
import { MODELS, Procura, RECORDS, Sqlite } from './procura.mjs';
import { ACCESS_TOKEN, clientCredentials, exchange } from './requests.mjs';
import { Session, TOKENS, say, wants } from './session.mjs';

const run = promisify(execFile);
const OWN_TOKENS = Math.min(TOKENS, 5_000);
const COLD_STARTS = 5;
const CONNECTIONS = (process.env.BENCH_CONNECTIONS ?? '1 16 64').split(/\s+/).map(Number);
const ALGORITHMS = ['ES256', 'RS256'];

await Session.run('latest', async (session) => {
  if (wants('speed')) await speed(session);
  if (wants('floor')) await floor(session);
  if (!['peer', 'sqlite', 'postgres'].some(wants)) return;
  const issuer = session.stopAtEnd(await Issuer.start());
  const tokens = {};
  for (const alg of ALGORITHMS) {
    const isUsed = alg === 'ES256' && ['own', 'listed', 'forward_auth'].some(wants);
    if (!wants(alg.toLowerCase()) && !isUsed) continue;
    say(`signing ${TOKENS} ID tokens with ${alg} ...`);
    tokens[alg] = issuer.idTokens(alg, TOKENS);
  }
  if (wants('peer')) await peer(session, issuer, tokens);
  if (wants('sqlite')) await procura(session, 'sqlite', (folder) => new Sqlite(folder), issuer, tokens);
  if (wants('postgres')) await procura(session, 'postgres', () => session.postgres(), issuer, tokens);
});

async function measure(session, name, server, origin, folder, what) {
  if (!wants(name)) return;
  const requests = await Requests.write(folder, name.replaceAll(' ', '-'), { path: '/token', ...what });
  await session.measure(name, server, origin, requests, CONNECTIONS);
}

async function procura(session, target, database, issuer, tokens) {
  const folder = await session.subfolder(target);
  const store = await database(folder);
  const server = session.stopAtEnd(await Procura.create(folder, store, issuer.url, { users: TOKENS }));
  let process = await server.start();
  const headers = { Authorization: server.basic('assistant') };
  const measured = (kind, what) => measure(session, `${target} ${kind}`, process, server.origin, folder, { headers, ...what });

  const before = { bytes: await store.bytes(), events: await server.events() };
  for (const alg of ALGORITHMS) {
    await measured(alg.toLowerCase(), { bodies: tokens[alg]?.map((token) => exchange(token)) });
  }
  session.disk(target, (await store.bytes()) - before.bytes, (await server.events()) - before.events);
  if (wants('own')) {
    const first = tokens.ES256.slice(0, OWN_TOKENS).map((token) => exchange(token));
    const own = await issued(server.origin, headers, first);
    const second = { type: ACCESS_TOKEN, resource: MODELS, scope: 'model.general' };
    const bodies = own.map((token) => exchange(token, second));
    await measured('own', { headers: { Authorization: server.basic('records-backend') }, bodies });
  }
  await measured('client_credentials', { bodies: [clientCredentials()] });
  await measured('jwks', { method: 'GET', path: '/.well-known/jwks.json', headers: {} });
  if (wants('listed') || wants('forward_auth')) {
    await server.declare({ statusList: true });
    const bodies = tokens.ES256.map((token) => exchange(token));
    await measured('listed', { bodies });
    const listed = wants('forward_auth') ? await issued(server.origin, headers, bodies.slice(0, OWN_TOKENS)) : [];
    await measured('forward_auth', { method: 'GET', path: '/forward-auth/records', headers: {}, bodies: listed });
  }

  const starts = [];
  for (let start = 0; start < COLD_STARTS; start += 1) {
    await process.stop();
    process = await server.start();
    starts.push(process.coldStartMs);
  }
  session.cold(target, starts, await process.memory());
  await process.stop();
}

/** The tokens that these requests are answered with. */
async function issued(origin, headers, bodies) {
  const tokens = [];
  let next = 0;
  const one = async () => {
    while (next < bodies.length) {
      const body = bodies[next++];
      const form = { ...headers, 'Content-Type': 'application/x-www-form-urlencoded' };
      const answer = await fetch(`${origin}/token`, { method: 'POST', headers: form, body });
      if (!answer.ok) throw new Error(`an exchange was refused: ${answer.status} ${await answer.text()}`);
      tokens.push((await answer.json()).access_token);
    }
  };
  await Promise.all(Array.from({ length: 16 }, one));
  return tokens;
}

async function peer(session, issuer, tokens) {
  const folder = await session.subfolder('peer');
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const [client, secret] = ['assistant', 'a-secret-of-at-least-32-characters'];
  const world = { issuer: issuer.url, audience: APP, jwks: issuer.jwks(), resource: RECORDS, client, secret };
  await writeFile(join(folder, 'world.json'), JSON.stringify(world));
  const node = globalThis.process.env.BENCH_PEER_NODE ?? globalThis.process.execPath;
  const command = [node, join(import.meta.dirname, 'peer/oidc_provider.mjs'), String(port), join(folder, 'world.json')];
  const env = { ...globalThis.process.env, NODE_ENV: 'production' };
  const start = async () => session.stopAtEnd(await Measured.start(command, `${origin}/jwks`, { env }));
  let server = await start();
  const starts = [server.coldStartMs];
  const headers = { Authorization: `Basic ${Buffer.from(`${client}:${secret}`).toString('base64')}` };
  const measured = (kind, what) => measure(session, `peer ${kind}`, server, origin, folder, { headers, ...what });
  for (const alg of ALGORITHMS) {
    await measured(alg.toLowerCase(), { bodies: tokens[alg]?.map((token) => exchange(token)) });
  }
  await measured('client_credentials', { bodies: [clientCredentials()] });
  await measured('jwks', { method: 'GET', path: '/jwks', headers: {} });
  while (starts.length < COLD_STARTS) {
    await server.stop();
    server = await start();
    starts.push(server.coldStartMs);
  }
  session.cold('peer', starts, await server.memory());
  await server.stop();
}

async function floor(session) {
  const folder = await session.subfolder('floor');
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const command = [process.env.FLOOR_BIN, `127.0.0.1:${port}`];
  const server = session.stopAtEnd(await Measured.start(command, `${origin}/`));
  await measure(session, 'floor post', server, origin, folder, { bodies: [exchange('a'.repeat(900))] });
  await measure(session, 'floor get', server, origin, folder, { method: 'GET', path: '/' });
  await server.stop();
}

/** What the signatures alone cost by the installed OpenSSL. */
async function speed(session) {
  const [file, ...args] = on(SERVER_CORE, ['openssl', 'speed', '-seconds', '2', 'ecdsap256', 'rsa2048', 'ed25519']);
  const { stdout } = await run(file, args, { timeout: 60_000 });
  for (const [name, pattern] of Object.entries({ ecdsap256: /nistp256\)/, rsa2048: /^rsa +2048/, ed25519: /Ed25519\)/ })) {
    const line = stdout.split('\n').find((line) => pattern.test(line) && /\ds/.test(line));
    if (!line) throw new Error(`openssl speed said nothing of ${name}:\n${stdout}`);
    const [sign, verify] = line.trim().split(/\s+/).slice(-2).map((value) => Math.round(Number(value)));
    session.results.speed[name] = { sign, verify };
    say(`openssl speed ${name}: ${sign} signatures/s, ${verify} verifications/s`);
  }
}
