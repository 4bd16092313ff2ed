// What every measurement shares: settings, a folder, what has to be stopped at the end, and the figures.

import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, loadavg, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Postgres, createDatabase } from '../tests/e2e/world/postgres.mjs';
import { load } from './load.mjs';
import { LOAD_CORE, SERVER_CORE } from './process.mjs';
import { PostgresDatabase } from './procura.mjs';
import { markdown, row } from './report.mjs';

const run = promisify(execFile);
const number = (name, otherwise) => Number(process.env[name] ?? otherwise);
export const SECONDS = number('BENCH_SECONDS', 5);
export const ROUNDS = number('BENCH_ROUNDS', 1);
export const TOKENS = number('BENCH_TOKENS', 20_000);
const ONLY = (process.env.BENCH_ONLY ?? '').split(/\s+/).filter(Boolean);
const TARGETS = ['speed', 'floor', 'peer', 'sqlite', 'postgres'];

export const say = (line) => console.log(line);

/** True if BENCH_ONLY leaves it in: it names one of its targets, if any, and one of its kinds, if any. */
export function wants(name) {
  const fits = (words, asked) => words.length === 0 || asked.length === 0 || words.some((word) => asked.includes(word));
  const isTarget = (word) => TARGETS.includes(word);
  const isKind = (word) => !isTarget(word);
  const words = name.split(' ');
  return fits(words.filter(isTarget), ONLY.filter(isTarget)) && fits(words.filter(isKind), ONLY.filter(isKind));
}

export class Session {
  #stops = [];
  #postgres;

  /** Runs `body` with a session, cleans up, and writes down what was measured under this name. */
  static async run(name, body) {
    const session = new Session();
    session.folder = await mkdtemp(join(tmpdir(), 'procura-bench-'));
    // PostgreSQL runs as another user, in folders beside this one.
    await chmod(session.folder, 0o755);
    session.results = { machine: await machine(), settings: { SECONDS, ROUNDS, TOKENS }, measured: [], starts: [], speed: {} };
    for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]]) {
      process.on(signal, async () => {
        await session.#report(name);
        await session.#end();
        process.exit(code);
      });
    }
    try {
      const { cpu, cores, loadAverage } = session.results.machine;
      say(`${cpu}, ${cores} cores; server on core ${SERVER_CORE}, load on core ${LOAD_CORE}; load average ${loadAverage[0]}`);
      if (loadAverage[0] > 1) {
        say('Something else runs on this machine: requests per second are preliminary, p99 means little.');
      }
      say(row.head);
      await body(session);
    } catch (error) {
      console.error(error);
      process.exitCode = 1;
    }
    try {
      // What was measured until then is not lost.
      await session.#report(name);
    } finally {
      await session.#end();
    }
  }

  /** To be stopped at the end, whatever happens. */
  stopAtEnd(thing) {
    this.#stops.push(thing);
    return thing;
  }

  subfolder(name) {
    return mkdtemp(join(this.folder, `${name}-`));
  }

  /** An empty database of a cluster that is started at the first call, and commits durably. */
  async postgres() {
    if (!this.#postgres) {
      // On the core of the load: a real installation gives the database a machine of its own.
      this.#postgres = this.stopAtEnd(await Postgres.start({ fsync: true, prefix: ['taskset', '-c', LOAD_CORE] }));
      if (process.env.BENCH_REALTIME === '1') await run('chrt', ['-a', '-r', '-p', '9', String(this.#postgres.pid)]);
    }
    return new PostgresDatabase(await createDatabase(this.#postgres.url, `bench_${Date.now()}`));
  }

  /** Sends every request once, so that caches are as full as they get and compiled code is hot; then measures. */
  async measure(name, server, origin, requests, connections) {
    for (let sent = 0, tries = 0; sent < requests.count && tries < 20; tries += 1) {
      const { requests: answered, failed } = await load(server, origin, requests, { connections: 16, seconds: 1 });
      if (failed > 0) throw new Error(`${name}: ${failed} of ${answered} requests failed`);
      sent += answered;
    }
    for (const count of connections) {
      const rounds = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        rounds.push(await load(server, origin, requests, { connections: count, seconds: SECONDS }));
      }
      rounds.sort((a, b) => a.perSecond - b.perSecond);
      const median = rounds[Math.floor(rounds.length / 2)];
      const spread = [rounds[0].perSecond, rounds.at(-1).perSecond];
      const measured = { name, ...median, spread, memory: await server.memory() };
      this.results.measured.push(measured);
      say(row.of(measured));
    }
  }

  /** How long starts took until the first answer; the median counts. */
  cold(name, starts, memory) {
    starts.sort((a, b) => a - b);
    const median = Math.round(starts[Math.floor(starts.length / 2)]);
    this.results.starts.push({ name, coldStartMs: median, idleMib: memory.now });
    say(`${name}: first answer ${median} ms after its start on existing data, ${memory.now} MiB then`);
  }

  disk(name, bytes, events) {
    if (events > 0) this.results.starts.push({ name: `${name} disk`, bytesPerExchange: Math.round(bytes / events), events });
  }

  async #report(name) {
    const into = process.env.BENCH_SAVE ? join(import.meta.dirname, 'results') : process.env.BENCH_OUT;
    const text = markdown(this.results);
    say(`\n${text}`);
    if (!into) return;
    await mkdir(into, { recursive: true });
    const file = join(into, process.env.BENCH_SAVE ?? name);
    await writeFile(`${file}.json`, `${JSON.stringify(this.results, null, 1)}\n`);
    await writeFile(`${file}.md`, text);
    say(`written to ${file}.{json,md}`);
  }

  async #end() {
    for (const thing of this.#stops.splice(0).reverse()) await thing.stop().catch(() => {});
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function machine() {
  const describe = ['-C', import.meta.dirname, 'describe', '--always', '--dirty'];
  const { stdout } = await run('git', describe).catch(() => ({ stdout: '' }));
  return {
    cpu: cpus()[0].model,
    cores: cpus().length,
    kernel: release(),
    node: process.version,
    commit: stdout.trim(),
    loadAverage: loadavg().map((value) => Number(value.toFixed(2))),
    realtime: process.env.BENCH_REALTIME === '1',
  };
}
