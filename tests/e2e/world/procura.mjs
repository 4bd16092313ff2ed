// The server and its command line: the built binary, in a folder of its own.

import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, run, Service } from './processes.mjs';

const root = fileURLToPath(new URL('../../..', import.meta.url));
export const BINARY = process.env.PROCURA_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'debug/procura');

// Nothing of the caller's own configuration gets in.
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PROCURA_')));

export class Procura {
  #folder;
  #service;
  #environment;

  /** Writes the configuration; starts nothing. `more` is added to it as it is, `secrets` to the environment. */
  static async create(folder, databaseUrl, { more = '', secrets = {} } = {}) {
    const procura = new Procura();
    procura.#environment = { ...environment, ...secrets };
    const [port, adminPort] = [await freePort(), await freePort()];
    procura.#folder = folder;
    procura.issuer = `http://127.0.0.1:${port}`;
    procura.admin = `http://127.0.0.1:${adminPort}`;
    const config = `
issuer = "${procura.issuer}"
listen = "127.0.0.1:${port}"
admin_listen = "127.0.0.1:${adminPort}"
database_url = "${databaseUrl}"
secrets_key = "${randomBytes(32).toString('base64')}"
${more}`;
    await writeFile(join(folder, 'procura.toml'), config, { mode: 0o600 });
    return procura;
  }

  /** Runs a command. Resolves with what it prints; throws CommandFailed with its standard error otherwise. */
  cli(...args) {
    return run(BINARY, args, { cwd: this.#folder, env: this.#environment });
  }

  /** Runs a command with --json. */
  async json(...args) {
    return JSON.parse(await this.cli('--json', ...args));
  }

  /** Makes the registry match this text. */
  async apply(registry) {
    await writeFile(join(this.#folder, 'registry.toml'), registry);
    return this.cli('apply', 'registry.toml');
  }

  async start() {
    this.#service = new Service(BINARY, ['serve'], { cwd: this.#folder, env: this.#environment });
    await this.#service.ready(async () => (await fetch(`${this.issuer}/readyz`)).ok);
  }

  /**
   * Starts one more server on the same database, as behind a load balancer: the same issuer, another port. Resolves
   * with its address and how to stop it.
   */
  async replica() {
    const [port, adminPort] = [await freePort(), await freePort()];
    const env = {
      ...this.#environment,
      PROCURA_LISTEN: `127.0.0.1:${port}`,
      PROCURA_ADMIN_LISTEN: `127.0.0.1:${adminPort}`,
    };
    const service = new Service(BINARY, ['serve'], { cwd: this.#folder, env });
    const url = `http://127.0.0.1:${port}`;
    await service.ready(async () => (await fetch(`${url}/readyz`)).ok);
    return { url, stop: () => service.stop('SIGINT') };
  }

  /** Ends it: at once by SIGINT; by SIGTERM it first tells load balancers. Resolves with the exit code. */
  stop(signal = 'SIGINT') {
    return this.#service?.stop(signal);
  }

  get log() {
    return this.#service?.output ?? '';
  }
}
