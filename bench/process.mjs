// A measured process: alone on its core, with what it has used.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { get } from 'node:http';

export const SERVER_CORE = process.env.BENCH_SERVER_CORE ?? '0';
export const LOAD_CORE = process.env.BENCH_LOAD_CORE ?? '1';

/** In front of a command: on this core; with BENCH_REALTIME=1 (as root) before whatever else runs on the machine. */
export function on(core, command) {
  const first = process.env.BENCH_REALTIME === '1' ? ['chrt', '-r', '10'] : [];
  return [...first, 'taskset', '-c', core, ...command];
}

export class Measured {
  #child;
  #stderr = '';

  /** Starts it and waits for its first answer at `url`: `coldStartMs` is how long that took. */
  static async start(command, url, options = {}) {
    const measured = new Measured();
    const [file, ...args] = on(SERVER_CORE, command);
    const started = process.hrtime.bigint();
    // Its log goes nowhere, as it is written: reading it here would take time from the load.
    measured.#child = spawn(file, args, { stdio: ['ignore', 'ignore', options.log ?? 'ignore'], ...options });
    const ended = once(measured.#child, 'exit').then(() => true);
    while (!(await answers(url))) {
      const gone = await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 1, false))]);
      const waited = Number(process.hrtime.bigint() - started) / 1e6;
      if (gone || waited > 30_000) throw new Error(`${command.join(' ')} did not come up`);
    }
    measured.coldStartMs = Number(process.hrtime.bigint() - started) / 1e6;
    return measured;
  }

  get pid() {
    return this.#child.pid;
  }

  async stop() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGINT');
    const insist = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(insist);
  }

  /** Nanoseconds on a core so far, all threads together. */
  async cpu() {
    return cpu(this.pid);
  }

  /** Resident memory now and at its highest, in MiB. */
  async memory() {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8');
    const mib = (name) => Math.round((Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)[1]) / 1024) * 10) / 10;
    return { now: mib('VmRSS'), peak: mib('VmHWM') };
  }
}

/** Nanoseconds on a core so far, all threads of the process together; ended threads are not in it. */
export async function cpu(pid) {
  const threads = await readdir(`/proc/${pid}/task`);
  const used = threads.map(async (thread) => {
    const statistics = await readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').catch(() => '0');
    return Number(statistics.split(' ')[0]);
  });
  return (await Promise.all(used)).reduce((sum, one) => sum + one, 0);
}

function answers(url) {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: 1000 }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode === 200));
    });
    request.on('error', () => resolve(false)).on('timeout', () => request.destroy());
  });
}
