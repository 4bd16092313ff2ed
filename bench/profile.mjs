// `bench/run.sh profile.mjs`: where the time of one ES256 exchange goes, by Linux perf (Debian package linux-perf).
//
// BENCH_ONLY: sqlite, postgres (both). BENCH_TOKENS as in bench.mjs. With BENCH_SAVE=name the picture is written to
// docs/explanation/where-time-goes.svg too.

import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Issuer } from './issuer.mjs';
import { Requests, load } from './load.mjs';
import { picture } from './picture.mjs';
import { Procura, Sqlite } from './procura.mjs';
import { exchange } from './requests.mjs';
import { Session, TOKENS, say, wants } from './session.mjs';

const run = promisify(execFile);
const CONNECTIONS = 16;
const SECONDS = 6;
const SAMPLED_SECONDS = 4;
const SAMPLES_A_SECOND = 2_500;

/** The first that fits a thread, whether the kernel was at work (k), and a symbol. */
const PARTS = [
  ['ES256: verifying and signing', (thread, level, symbol) => /nistz256|ring_core(?!.*sha)|p256|^ring::ec|ecdsa/.test(symbol)],
  ['SQLite: its thread, flush included', (thread) => thread.startsWith('sqlx-sqlite')],
  ['kernel: network, threads', (thread, level) => level === 'k'],
  ['HTTP: hyper, axum', (thread, level, symbol) => /hyper|httparse|http::|axum|tower/.test(symbol)],
  ['memory: allocating, copying', (thread, level, symbol) => /mi_|malloc|alloc::|_mem(move|cpy|set|cmp)|drop_in_place/.test(symbol)],
  ['JSON, hashes, base64, text', (thread, level, symbol) => /serde|json|sha\d|sha2|base64|fmt|from_utf8/.test(symbol)],
  ['database driver', (thread, level, symbol) => /sqlx/.test(symbol)],
  ['audit code, without JSON and hashes', (thread, level, symbol) => /procura::(audit|store)/.test(symbol)],
  ['decision, caches, limits, OAuth', (thread, level, symbol) => /procura|moka|governor|sip|indexmap|dashmap|cedar/.test(symbol)],
  ['tasks, timers, the rest', () => true],
];

await Session.run('profile', async (session) => {
  const issuer = session.stopAtEnd(await Issuer.start());
  const bodies = issuer.idTokens('ES256', TOKENS).map((token) => exchange(token));
  const profiles = {};
  for (const target of ['sqlite', 'postgres']) {
    if (wants(target)) profiles[target] = await profile(session, target, issuer, bodies);
  }
  session.results.profiles = profiles;
  for (const [target, { perSecond, micros }] of Object.entries(profiles)) {
    say(`\n${target}, ${CONNECTIONS} connections, ${perSecond} exchanges a second while sampled:`);
    for (const [part, used] of Object.entries(micros)) say(`${part.padEnd(40)}${used.toFixed(1).padStart(7)} µs`);
  }
  if (!process.env.BENCH_SAVE || Object.keys(profiles).length === 0) return;
  const file = join(import.meta.dirname, '../docs/explanation/where-time-goes.svg');
  await writeFile(file, picture(profiles));
});

async function profile(session, target, issuer, bodies) {
  const folder = await session.subfolder(target);
  const store = target === 'sqlite' ? new Sqlite(folder) : await session.postgres();
  const procura = session.stopAtEnd(await Procura.create(folder, store, issuer.url, { users: TOKENS }));
  const server = await procura.start();
  const headers = { Authorization: procura.basic('assistant') };
  const requests = await Requests.write(folder, 'profile', { path: '/token', headers, bodies });
  const loaded = (seconds) => load(server, procura.origin, requests, { connections: CONNECTIONS, seconds });
  const before = await loaded(SECONDS);

  const samples = join(folder, 'perf.data');
  const under = loaded(SECONDS);
  under.catch(() => {}); // Awaited below, unless perf fails first.
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const what = ['-q', '-e', 'cpu-clock', '-F', String(SAMPLES_A_SECOND), '-o', samples, '-p', String(server.pid)];
  await run('perf', ['record', ...what, '--', 'sleep', String(SAMPLED_SECONDS)]);
  const { perSecond, cpuMicros, failed } = await under;
  if (before.failed + failed > 0) throw new Error(`${before.failed + failed} requests failed`);
  await procura.stop();
  const report = ['report', '-i', samples, '--no-children', '--sort', 'comm,sym', '--stdio', '-g', 'none'];
  const { stdout } = await run('perf', report, { maxBuffer: 1 << 26 });

  let kernel = false;
  const micros = Object.fromEntries(PARTS.map(([part]) => [part, 0]));
  for (const line of stdout.split('\n')) {
    const [, percent, thread, level, symbol] = /^\s*([\d.]+)%\s+(.*?)\s+\[(.)\]\s+(.*?)\s*$/.exec(line) ?? [];
    if (!percent) continue;
    kernel ||= level === 'k';
    const [part] = PARTS.find(([, fits]) => fits(thread, level, symbol));
    micros[part] += (Number(percent) / 100) * cpuMicros;
  }
  const sum = Object.values(micros).reduce((all, one) => all + one, 0);
  if (sum < 0.97 * cpuMicros || !kernel) throw new Error('perf did not sample all of the server, kernel included');
  return { perSecond, cpuMicros, micros };
}
