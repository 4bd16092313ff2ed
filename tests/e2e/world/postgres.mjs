// A throw-away PostgreSQL cluster on loopback, from the installed binaries.

import { chown, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { access } from 'node:fs/promises';
import { freePort, run, Service } from './processes.mjs';

export class PostgresMissing extends Error {}

export class Postgres {
  #folder;
  #service;
  #bin;
  #as;

  /**
   * `fsync` makes commits durable, and slow; `prefix` goes before the command that starts the server; `more` are further
   * settings.
   */
  static async start({ fsync = false, prefix = [], more = [] } = {}) {
    const postgres = new Postgres();
    postgres.#bin = await binaries();
    postgres.#as = await unprivileged();
    const folder = (postgres.#folder = await mkdtemp(join(tmpdir(), 'procura-e2e-postgres-')));
    if (postgres.#as.uid !== undefined) await chown(folder, postgres.#as.uid, postgres.#as.gid);
    const options = { cwd: folder, ...postgres.#as };
    const data = join(folder, 'data');
    const superuser = ['--username', 'procura', '--auth', 'trust', '--encoding', 'UTF8', '--locale', 'C'];
    await run(join(postgres.#bin, 'initdb'), ['--pgdata', data, '--no-sync', ...superuser], options);
    const port = String(await freePort());
    postgres.url = `postgres://procura@127.0.0.1:${port}/postgres`;
    const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'max_connections=200'];
    settings.push(`fsync=${fsync ? 'on' : 'off'}`, ...more);
    const args = ['-D', data, '-p', port, ...settings.flatMap((setting) => ['-c', setting])];
    const [program, ...rest] = [...prefix, join(postgres.#bin, 'postgres'), ...args];
    postgres.#service = new Service(program, rest, options);
    const isReady = () => run(join(postgres.#bin, 'pg_isready'), ['-q', '-d', postgres.url]).then(() => true);
    try {
      await postgres.#service.ready(isReady);
    } catch (error) {
      await postgres.stop();
      throw error;
    }
    return postgres;
  }

  /** The process that starts all others of the server. */
  get pid() {
    return this.#service.pid;
  }

  /** What it logs. */
  get log() {
    return this.#service.output;
  }

  async stop() {
    // SIGINT: a fast shutdown, which does not wait for clients.
    await this.#service.stop('SIGINT');
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Makes an empty database in the cluster at `url`. Resolves with its URL. */
export async function createDatabase(url, name) {
  await run(join(await binaries(), 'psql'), ['-q', '-d', url, '-c', `CREATE DATABASE "${name}"`]);
  return Object.assign(new URL(url), { pathname: `/${name}` }).href;
}

/** Runs statements by psql. Resolves with the rows, one a line; throws CommandFailed at the first error. */
export async function psql(url, ...statements) {
  const commands = statements.flatMap((statement) => ['-c', statement]);
  return (await run(join(await binaries(), 'psql'), ['-qAtX', '-v', 'ON_ERROR_STOP=1', '-d', url, ...commands])).trim();
}

/** Runs a file of statements. */
export async function psqlFile(url, file) {
  return run(join(await binaries(), 'psql'), ['-qAtX', '-v', 'ON_ERROR_STOP=1', '-d', url, '-f', file]);
}

/** The folder with the server's programs: on the path, or where Debian has them (the newest version). */
async function binaries() {
  const debian = '/usr/lib/postgresql';
  const versions = await readdir(debian).catch(() => []);
  const newestFirst = versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(debian, version, 'bin'));
  for (const folder of [...process.env.PATH.split(delimiter), ...newestFirst]) {
    const there = ['initdb', 'postgres', 'psql', 'pg_isready'].map((program) => access(join(folder, program)));
    if (await Promise.all(there).then(() => true, () => false)) return folder;
  }
  throw new PostgresMissing('initdb, postgres and psql were found neither on the path nor under /usr/lib/postgresql');
}

/** PostgreSQL refuses to run as root: as whom to run it. */
async function unprivileged() {
  if (process.getuid() !== 0) return {};
  for (const user of ['postgres', 'nobody']) {
    const ids = await Promise.all([run('id', ['-u', user]), run('id', ['-g', user])]).catch(() => undefined);
    if (ids) return { uid: Number(ids[0]), gid: Number(ids[1]) };
  }
  throw new PostgresMissing('there is no user postgres or nobody to run it as');
}
