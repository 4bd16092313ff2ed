// `make bench-growth`: the same exchange at 16 connections while one thing at a time grows a thousandfold.
//
// BENCH_AUDIT_ROWS (1000000): 10000000 take some 30 GB on each database. BENCH_LIMIT (7200): seconds until it is ended.
// BENCH_ONLY: databases (sqlite, postgres) and what grows (base, consents, clients, policies, events). Others as in bench.mjs.

import { statfs } from 'node:fs/promises';
import { Issuer } from './issuer.mjs';
import { Requests } from './load.mjs';
import { Procura, Sqlite } from './procura.mjs';
import { exchange } from './requests.mjs';
import { Session, TOKENS, say, wants } from './session.mjs';

const AUDIT_ROWS = Number(process.env.BENCH_AUDIT_ROWS ?? 1_000_000);
const BYTES_A_ROW = 3_000;
// In one transaction: SQLite's log has room for all its pages, beside the file.
const ROWS_AT_ONCE = 500_000;
// One user asks for all tokens in the first of them, so there are no limits here.
const LIMITS = 'limits = { user_exchanges_per_minute = 0, grant_exchanges_per_minute = 0 }';

const thousands = (value) => value.toLocaleString('en');
const VARIANTS = [
  { kind: 'base', what: `${thousands(TOKENS)} consents`, users: TOKENS },
  { kind: 'consents', what: '1 consent', users: 1 },
  { kind: 'consents', what: '1,000 consents', users: 1_000 },
  { kind: 'consents', what: '1,000,000 consents', users: 1_000_000 },
  { kind: 'clients', what: '100 clients', users: TOKENS, clients: 100 },
  { kind: 'clients', what: '100,000 clients', users: TOKENS, clients: 100_000 },
  { kind: 'policies', what: '10 policies', users: TOKENS, policies: 10 },
  { kind: 'policies', what: '1,000 policies', users: TOKENS, policies: 1_000 },
  { kind: 'events', what: `${thousands(AUDIT_ROWS)} events`, users: TOKENS, events: AUDIT_ROWS },
];

await Session.run('growth', async (session) => {
  const issuer = session.stopAtEnd(await Issuer.start());
  say(`signing ${TOKENS} ID tokens with ES256 ...`);
  for (const target of ['sqlite', 'postgres']) {
    for (const variant of VARIANTS) {
      if (wants(`${target} ${variant.kind}`)) await measure(session, target, variant, issuer);
    }
  }
});

async function measure(session, target, { what, users, clients = 0, policies = 0, events = 0 }, issuer) {
  const name = `${target} ${what}`;
  const folder = await session.subfolder(target);
  const store = target === 'sqlite' ? new Sqlite(folder) : await session.postgres();
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < events * BYTES_A_ROW * 1.3) {
    throw new Error(`${name} needs some ${Math.round((events * BYTES_A_ROW) / 1e9)} GB of disk`);
  }
  const options = { users, policies, settings: LIMITS };
  const server = session.stopAtEnd(await Procura.create(folder, store, issuer.url, options));
  await seedClients(store, clients);
  let process = await server.start();
  // Spread over all users there are.
  const spread = (number) => (users > TOKENS ? number * Math.floor(users / TOKENS) : number % users);
  const bodies = issuer.idTokens('ES256', TOKENS, spread).map((token) => exchange(token));
  const headers = { Authorization: server.basic('assistant') };
  const requests = await Requests.write(folder, 'growth', { path: '/token', headers, bodies });
  if (events > 0) {
    // One exchange is the model of all events that are there already.
    const form = { ...headers, 'Content-Type': 'application/x-www-form-urlencoded' };
    const answer = await fetch(`${server.origin}/token`, { method: 'POST', headers: form, body: bodies[0] });
    if (!answer.ok) throw new Error(`the first exchange was refused: ${answer.status} ${await answer.text()}`);
    await process.stop();
    say(`seeding ${thousands(events)} events ...`);
    await seedEvents(store, events);
    process = await server.start();
  }
  const before = { bytes: await store.bytes(), events: await server.events() };
  await session.measure(name, process, server.origin, requests, [16]);
  session.disk(name, (await store.bytes()) - before.bytes, (await server.events()) - before.events);
  await process.stop();
  process = await server.start();
  session.cold(name, [process.coldStartMs], await process.memory());
  await process.stop();
  await store.remove();
}

/** Clients like `assistant` under other names, with a secret each. */
async function seedClients(store, count) {
  if (count === 0) return;
  const numbers = store.numbers(count);
  await store.sql(`
INSERT INTO client (id, document, assurance)
SELECT 'client-' || n, replace(document, '"assistant"', '"client-' || n || '"'), assurance
FROM client CROSS JOIN ${numbers} WHERE id = 'assistant';
INSERT INTO client_secret (id, client_id, place, hash, created_at)
SELECT 'secret-' || n, 'client-' || n, 1, hash, 1
FROM client_secret CROSS JOIN ${numbers} WHERE client_id = 'assistant';
UPDATE version SET registry = registry + 1;
`);
  await store.analyze();
}

/** Events of one more writer, a millisecond apart, of a million users; their hashes are not right. */
async function seedEvents(store, count) {
  for (let from = 0; from < count; from += ROWS_AT_ONCE) {
    await store.sql(eventsFrom(from, store.numbers(Math.min(ROWS_AT_ONCE, count - from))));
  }
  const seeded = Number(await store.sql("SELECT count(*) FROM audit_event WHERE writer_id = 'bench'"));
  if (seeded !== count) throw new Error(`${seeded} events were seeded instead of ${count}`);
  await store.analyze();
}

function eventsFrom(from, numbers) {
  return `
INSERT INTO audit_event
(writer_id, seq, prev_hash, hash, body, at_ms, request_id, outcome, reason, subject, client, resource, jti, txn)
SELECT 'bench', n + 1, prev_hash, hash, body, 1700000000000 + n, 'req_' || (100000000000 + n), outcome, reason,
  'corp|user-' || ((n * 7919) % 1000000), client, resource, 'dtk_' || (100000000000 + n), 'txn_' || (100000000000 + n)
FROM (SELECT * FROM audit_event WHERE outcome = 'granted' LIMIT 1) AS model CROSS JOIN
  (SELECT n + ${from} AS n FROM ${numbers}) AS row_number;
`;
}
