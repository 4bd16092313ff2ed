// Child processes and ports: started here, stopped by their own id, bounded in time.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** What a finished command left behind. */
export class CommandFailed extends Error {
  constructor(command, { code, stdout, stderr }) {
    super(`${command} ended with ${code}: ${stderr.trim() || stdout.trim()}`);
    Object.assign(this, { code, stdout, stderr });
  }
}

/** Runs a command to its end, at most a minute. Resolves with its standard output, or throws CommandFailed. */
export function run(file, args, options = {}) {
  return new Promise((resolve, reject) => {
    execFile(file, args, { timeout: 60_000, maxBuffer: 16 << 20, ...options }, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      // A text as code: the command could not be started at all.
      if (typeof error.code === 'string') return reject(error);
      reject(new CommandFailed(`${file} ${args.join(' ')}`, { code: error.code ?? error.signal, stdout, stderr }));
    });
  });
}

/** A process that stays up until it is stopped. What it prints is kept, for the message when it fails. */
export class Service {
  #child;
  #output = '';

  constructor(file, args, options = {}) {
    this.name = `${file} ${args.join(' ')}`;
    this.#child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (this.#output += text));
    }
    this.#child.on('error', (error) => (this.#output += String(error)));
  }

  get output() {
    return this.#output;
  }

  get pid() {
    return this.#child.pid;
  }

  get hasEnded() {
    return this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Waits until `probe` resolves to true. */
  async ready(probe) {
    await eventually(
      async () => {
        if (this.hasEnded) throw new Stop(`${this.name} ended before it was ready:\n${this.#output}`);
        return probe();
      },
      { what: `${this.name} to be ready`, seconds: 30 },
    );
  }

  /** Asks it to end, insists after ten seconds. Resolves with its exit code, or the name of the signal. */
  async stop(signal = 'SIGTERM') {
    if (this.hasEnded) return this.#child.exitCode ?? this.#child.signalCode;
    const ended = once(this.#child, 'exit');
    this.#child.kill(signal);
    const insist = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
    const [code, by] = await ended;
    clearTimeout(insist);
    return code ?? by;
  }
}

/** Thrown by a probe when waiting any longer is of no use. */
export class Stop extends Error {}

/**
 * Tries until `attempt` returns something true, and returns that. For what one process learns from another: a change by
 * the command line reaches a running server within a second.
 */
export async function eventually(attempt, { what = 'the condition', seconds = 10 } = {}) {
  const deadline = Date.now() + seconds * 1000;
  let last;
  for (;;) {
    try {
      const result = await attempt();
      if (result) return result;
    } catch (error) {
      if (error instanceof Stop) throw error;
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s for ${what}`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// Each process of the tests has a block of ports to itself, below those that the system gives to connections: a port that
// was told to be free is not taken by another test meanwhile, and is told again only after all others of the block.
const FIRST_PORT = 20_000;
const BLOCKS = 60;
const PORTS_IN_BLOCK = 200;
let block;
let told = 0;

/** A port of the loopback interface that nobody listens on. */
export async function freePort() {
  block ??= takeBlock();
  const first = await block;
  for (let tries = 1; tries < PORTS_IN_BLOCK; tries += 1) {
    told = (told % (PORTS_IN_BLOCK - 1)) + 1;
    const port = first + told;
    const server = await listening(port);
    if (!server) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
  throw new Error(`all ${PORTS_IN_BLOCK} ports from ${first} on are in use`);
}

/** The first port of a block. It is listened on as long as this process lives, so that no other takes the block. */
async function takeBlock() {
  for (let offset = 0; offset < BLOCKS; offset += 1) {
    const first = FIRST_PORT + ((process.pid + offset) % BLOCKS) * PORTS_IN_BLOCK;
    const guard = await listening(first);
    if (guard) {
      guard.unref();
      return first;
    }
  }
  throw new Error(`no block of ports is free from ${FIRST_PORT} on`);
}

/** A server that listens on the port, or nothing where somebody else does. */
function listening(port) {
  const server = createServer();
  server.listen(port, '127.0.0.1');
  return new Promise((resolve) => server.once('listening', () => resolve(server)).once('error', () => resolve(undefined)));
}
