// Programs in Python, from the environment that run.sh made of python/requirements.txt.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const PYTHON = process.env.E2E_PYTHON ?? 'python3';

/**
 * Runs a program of python/ to its end, at most a minute. It says JSON objects, one a line; `reply` may answer each
 * with a text. Resolves with all that it said.
 */
export async function converse(program, argument, reply) {
  const child = spawn(PYTHON, [join(import.meta.dirname, '..', 'python', program), JSON.stringify(argument)], {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: 60_000,
  });
  let trouble = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (trouble += text));
  const ended = once(child, 'close');
  const said = [];
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const what = JSON.parse(line);
      said.push(what);
      const answer = await reply(what);
      if (answer !== undefined) child.stdin.write(`${answer}\n`);
    }
  } finally {
    child.kill();
  }
  const [code] = await ended;
  if (code !== 0) throw new Error(`${program} ended with ${code}:\n${trouble}`);
  return said;
}
