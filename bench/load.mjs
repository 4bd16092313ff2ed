// The load: wrk, one thread on a core of its own, many requests that were made beforehand.

import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LOAD_CORE, on } from './process.mjs';

const run = promisify(execFile);
let offset = 0;

/** A kind of request, written down for wrk. */
export class Requests {
  /**
   * @param {{ method?: string, path: string, headers?: Record<string, string>, bodies?: string[] }} what
   * With GET the `bodies` are bearer tokens.
   */
  static async write(folder, name, { method = 'POST', path, headers = {}, bodies = [] }) {
    const form = method === 'POST' ? { 'Content-Type': 'application/x-www-form-urlencoded' } : {};
    const fields = Object.entries({ ...form, ...headers }).map(([field, value]) => `${field}: ${value}`);
    const requests = new Requests();
    requests.file = join(folder, `${name}.requests`);
    requests.count = Math.max(bodies.length, 1);
    await writeFile(requests.file, [[method, path, ...fields].join('\t'), ...bodies].join('\n') + '\n');
    return requests;
  }
}

/**
 * Sends for some seconds over so many connections. Resolves with requests per second, latencies in milliseconds, the
 * server's time on its core per request in microseconds, and how much of the time it had its core.
 */
export async function load(server, origin, requests, { connections, seconds }) {
  offset += 7_919;
  const url = new URL(origin);
  const args = ['-t', '1', '-c', String(connections), '-d', `${seconds}s`, '--timeout', '10s'];
  const script = join(import.meta.dirname, 'load.lua');
  const [file, ...rest] = on(LOAD_CORE, ['wrk', ...args, '-s', script, url.origin, '--', requests.file, String(offset)]);
  const busyBefore = await machine();
  const before = await server.cpu();
  const { stdout } = await run(file, rest, { timeout: (seconds + 60) * 1000 });
  const used = (await server.cpu()) - before;
  const busyAfter = await machine();
  const result = JSON.parse(stdout.trim().split('\n').at(-1));
  if (result.requests === 0) throw new Error(`nothing was answered at ${url.origin}:\n${stdout}`);
  const round = (value, digits = 2) => Number(value.toFixed(digits));
  return {
    connections,
    requests: result.requests,
    perSecond: Math.round(result.requests / (result.micros / 1e6)),
    p50: round(result.p50 / 1000),
    p99: round(result.p99 / 1000),
    p999: round(result.p999 / 1000),
    max: round(result.max / 1000),
    failed: result.failed,
    cpuMicros: round(used / 1000 / result.requests, 1),
    cpuShare: round(used / 1000 / result.micros),
    stolenShare: round((busyAfter.stolen - busyBefore.stolen) / (busyAfter.all - busyBefore.all)),
    loadAverage: Number((await readFile('/proc/loadavg', 'utf8')).split(' ')[0]),
  };
}

/** Of all cores since the machine started, in ticks: what the host took away, and everything. */
async function machine() {
  const [first] = (await readFile('/proc/stat', 'utf8')).split('\n');
  const ticks = first.split(/\s+/).slice(1, 9).map(Number);
  return { stolen: ticks[7], all: ticks.reduce((sum, one) => sum + one, 0) };
}
