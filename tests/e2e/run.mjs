// `npm test`: starts a throw-away PostgreSQL and runs every test file against both databases. Arguments go to node --test.
//
// E2E_DATABASES=sqlite leaves PostgreSQL out; PROCURA_BIN names another binary than target/debug/procura.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SCREENSHOTS } from './world/browser.mjs';
import { Postgres } from './world/postgres.mjs';

const folder = join(import.meta.dirname, 'test');
const files = (await readdir(folder)).filter((name) => name.endsWith('.test.mjs')).map((name) => join(folder, name));
const LIMIT_MINUTES = 15;
const withPostgres = (process.env.E2E_DATABASES ?? 'postgres').includes('postgres');
const postgres = withPostgres ? await Postgres.start() : undefined;
try {
  // The files wait more than they work.
  const args = ['--test', '--test-reporter=spec', '--test-concurrency=4', ...process.argv.slice(2), ...files];
  const env = { ...process.env, ...(postgres && { E2E_POSTGRES_URL: postgres.url }) };
  const tests = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'], env });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => tests.kill(signal));
  const limit = setTimeout(() => {
    console.error(`the tests were ended after ${LIMIT_MINUTES} minutes`);
    tests.kill();
  }, LIMIT_MINUTES * 60_000);
  const [code] = await once(tests, 'exit');
  clearTimeout(limit);
  process.exitCode = code ?? 1;
  const pictures = await readdir(SCREENSHOTS).catch(() => []);
  console.log(`${pictures.length} pictures of pages are in ${SCREENSHOTS}`);
} finally {
  await postgres?.stop();
}
