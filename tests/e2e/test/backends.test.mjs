// The backends of examples/backends/: two users through one agent, over four connections to one database, and nobody
// sees a row of somebody else. And from a line of PostgreSQL's log to the person.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { decodeJwt } from 'jose';
import { BackendsWorld } from '../world/backends_world.mjs';
import { blocks } from '../world/docs.mjs';
import { BACKENDS, ExampleBackend, FOLDER } from '../world/example_backends.mjs';
import { psql } from '../world/postgres.mjs';
import { PYTHON } from '../world/python.mjs';
import { eventually, run } from '../world/processes.mjs';
import { onEachDatabase } from '../world/world.mjs';

const CALLS = 10_000;
const AT_ONCE = 32;
const USERS = ['alice', 'bob'];
const NAMES = { alice: 'Alice', bob: 'Bob' };
const ROWS = {
  alice: ['Alice: blood count', 'Alice: allergy test', 'Alice: x-ray'],
  bob: ['Bob: blood count', 'Bob: vaccination', 'Bob: check-up', 'Bob: x-ray'],
};
const other = { alice: 'bob', bob: 'alice' };

/** What a caller sends who would like to be somebody else, to backends that used to believe it. */
const forged = (user) => ({
  'x-user-id': `corp|${user}`,
  'x-forwarded-user': `corp|${user}`,
  'x-auth-request-user': `corp|${user}`,
  'remote-user': `corp|${user}`,
});

onEachDatabase(
  'the example backends',
  (world) => {
    describe('the schema', () => {
      const claims = { scope: 'records.read records.write' };
      const caller = (user, { scope } = claims, agent = 'agent') => [
        `SELECT set_config('request.jwt.claims', '${JSON.stringify({ scope })}', true)`,
        `SELECT set_config('app.user_id', '${user}', true)`,
        `SELECT set_config('app.agent_id', '${agent}', true)`,
      ];
      // What set_config itself answers is put aside.
      const as = async (settings, ...statements) => {
        const begin = ['BEGIN', '\\o /dev/null', ...settings, '\\o'];
        return psql(world.application, ...begin, ...statements, 'COMMIT');
      };
      const COUNT = 'SELECT count(*) FROM health_record';

      test('shows nobody anything, and each user their own rows', async () => {
        assert.equal(await psql(world.application, COUNT), '0');
        assert.equal(await as(caller('corp|alice'), COUNT), '3');
        assert.equal(await as(caller('corp|bob'), COUNT), '4');
        assert.equal(await as(caller(''), COUNT), '0');
        assert.equal(await as(caller('corp|alice', { scope: 'records.readonly' }), COUNT), '0');
        assert.equal(await as(caller('corp|alice').slice(1), COUNT), '0', 'without claims there is no scope');
      });

      test('forgets the user with the transaction', async () => {
        const transaction = ['BEGIN', '\\o /dev/null', ...caller('corp|alice'), '\\o', COUNT, 'COMMIT'];
        assert.deepEqual((await psql(world.application, ...transaction, COUNT)).split('\n'), ['3', '0']);
      });

      test('takes a row only of the user, by the client, with the scope', async () => {
        const add = (columns, values) =>
          `INSERT INTO health_record (${columns}) VALUES (${values}) RETURNING owner || ' by ' || written_by`;
        const back = 'ROLLBACK';
        assert.equal(await as(caller('corp|alice'), add('note', "'x'"), back), 'corp|alice by agent');
        const refused = /row-level security policy/;
        await assert.rejects(as(caller('corp|alice'), add('owner, note', "'corp|bob', 'x'")), refused);
        await assert.rejects(as(caller('corp|alice'), add('written_by, note', "'other', 'x'")), refused);
        await assert.rejects(as(caller('corp|alice', { scope: 'records.read' }), add('note', "'x'")), refused);
        await assert.rejects(as(caller('corp|alice', claims, ''), add('note', "'x'")), refused);
        await assert.rejects(psql(world.application, add('note', "'x'")), refused);
      });

      test('binds the owner of the table too, and lets the application change or remove nothing', async () => {
        await psql(world.database, 'GRANT records_owner TO records_app');
        try {
          assert.equal(await psql(world.application, 'SET ROLE records_owner', COUNT), '0');
        } finally {
          await psql(world.database, 'REVOKE records_owner FROM records_app');
        }
        const denied = /permission denied/;
        await assert.rejects(as(caller('corp|alice'), "UPDATE health_record SET note = 'x'"), denied);
        await assert.rejects(as(caller('corp|alice'), 'DELETE FROM health_record'), denied);
        await assert.rejects(psql(world.application, 'ALTER TABLE health_record DISABLE ROW LEVEL SECURITY'), /owner/);
      });
    });

    for (const name of Object.keys(BACKENDS)) describe(name, () => backendTests(world, name));

    describe('the transaction of a caller', () => {
      const claims = { scope: 'records.read records.write' };
      const caller = (user) => ({ user: `corp|${user}`, agent: 'agent', tokenId: `dtk_${user}`, claims });
      const COUNT = 'SELECT count(*)::int AS rows FROM health_record';

      test('in TypeScript runs nothing when it is over, says so when nothing was written, and outlives its connection', async () => {
        const { Records } = await import(join(FOLDER, 'express/records.ts'));
        const records = new Records(world.application);
        try {
          await records.check();
          const over = Promise.withResolvers();
          let late;
          const forgotten = (query) => {
            late = over.promise.then(() => query(COUNT));
            return Promise.all([query('SELECT 1/0'), late]);
          };
          await assert.rejects(records.as(caller('alice'), forgotten), /division by zero/);
          const bobs = await records.as(caller('bob'), async (query) => {
            over.resolve();
            await assert.rejects(late, /the transaction of this caller is over/);
            return query(COUNT);
          });
          assert.deepEqual(bobs, [{ rows: ROWS.bob.length }]);

          const caught = async (query) => {
            await query("INSERT INTO health_record (note) VALUES ('lost')");
            await query('SELECT 1/0').catch(() => {});
          };
          await assert.rejects(records.as(caller('alice'), caught), /nothing was written/);
          assert.deepEqual(await records.as(caller('alice'), (query) => query(COUNT)), [{ rows: ROWS.alice.length }]);

          const ended = async (query) => {
            const [{ pid }] = await query('SELECT pg_backend_pid() AS pid');
            await psql(world.database, `SELECT pg_terminate_backend(${pid})`);
            return query(COUNT);
          };
          await assert.rejects(records.as(caller('alice'), ended));
          assert.deepEqual(await records.as(caller('bob'), (query) => query(COUNT)), [{ rows: ROWS.bob.length }]);
        } finally {
          await records.end();
        }
        const superuser = new Records(world.database);
        await assert.rejects(superuser.check(), /bypasses row-level security/);
        await superuser.end();
      });

      test('in Python runs nothing when it is over, and says so when nothing was written', async () => {
        const program = `
import asyncio, sys
from caller import Caller
from records import Records

COUNT = "SELECT count(*)::int AS rows FROM health_record"

class Of:
    def __init__(self, user):
        self.user, self.agent, self.token_id = f"corp|{user}", "agent", f"dtk_{user}"
        self.claims = {"scope": "records.read records.write"}

async def refused(awaitable, why):
    try:
        await awaitable
    except Exception as error:
        assert why in str(error), error
    else:
        raise AssertionError(f"not refused: {why}")

async def count(records, user):
    async with records.of(Of(user)) as transaction:
        return (await transaction.rows(COUNT))[0]["rows"]

async def main(application, database):
    records = Records(application)
    async with records.pool:
        await records.check()
        kept = []
        async def fails():
            async with records.of(Of("alice")) as transaction:
                kept.append(transaction)
                await transaction.rows("SELECT 1/0")
        await refused(fails(), "division by zero")
        async with records.of(Of("bob")) as transaction:
            await refused(kept[0].rows(COUNT), "the transaction of this caller is over")
            assert (await transaction.rows(COUNT))[0]["rows"] == ${ROWS.bob.length}
        async def caught():
            async with records.of(Of("alice")) as transaction:
                await transaction.rows("INSERT INTO health_record (note) VALUES ('lost') RETURNING id")
                await refused(transaction.rows("SELECT 1/0"), "division by zero")
        await refused(caught(), "nothing was written")
        assert await count(records, "alice") == ${ROWS.alice.length}
    records = Records(database)
    async with records.pool:
        await refused(records.check(), "bypasses row-level security")
    print("as it should be")

asyncio.run(main(*sys.argv[1:]))
`;
        const args = ['-c', program, world.application, world.database];
        const said = await run(PYTHON, args, { cwd: `${FOLDER}fastapi`, env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } });
        assert.equal(said, 'as it should be\n');
      });
    });

    test('the examples have one text where they do the same', async () => {
      const text = (path) => readFile(join(FOLDER, path), 'utf8');
      for (const file of ['caller.ts', 'records.ts', 'tsconfig.json']) {
        assert.equal(await text(`express/${file}`), await text(`mcp-node/${file}`), file);
      }
      assert.equal(await text('fastapi/records.py'), await text('fastmcp/records.py'), 'records.py');
    });

    test('the page on filtering data has the statements of schema.sql', async () => {
      const plain = (text) => text.replace(/--.*$/gm, '').replace(/\s+/g, ' ').trim();
      const schema = plain(await readFile(join(FOLDER, 'schema.sql'), 'utf8'));
      const statements = (await blocks('docs/how-to/filter-data-per-user.md', 'sql'))
        .flatMap((block) => plain(block).split(/(?<=;) /))
        .filter((statement) => /^(CREATE (FUNCTION|POLICY)|ALTER|GRANT)/.test(statement));
      assert.equal(statements.length, 6);
      for (const statement of statements) assert.ok(schema.includes(statement), statement);
    });

    test('the page on X-User-Id tells in the shadow who would be refused, and who is somebody else', async () => {
      const [shadow] = await blocks('docs/how-to/stop-trusting-x-user-id.md', 'js');
      const run = new (async () => {}).constructor('request', 'callerOf', 'console', shadow);
      const callerOf = async (token) => {
        if (token === 'bad') throw new Error('ERR_JWT_EXPIRED');
        return { user: token, agent: 'agent', tokenId: 'dtk_1' };
      };
      const told = async (headers) => {
        const said = [];
        await run({ get: (name) => headers[name], path: '/records' }, callerOf, { log: (line) => said.push(JSON.parse(line)) });
        return said.map(({ shadow, why }) => why ?? shadow);
      };
      const claimed = { 'x-user-id': 'corp|alice' };
      assert.deepEqual(await told(claimed), ['no token']);
      assert.deepEqual(await told({ ...claimed, authorization: 'Bearer corp|alice' }), ['same']);
      assert.deepEqual(await told({ ...claimed, authorization: 'Bearer corp|bob' }), ['different']);
      assert.deepEqual(await told({ ...claimed, authorization: 'Bearer bad' }), ['ERR_JWT_EXPIRED']);
    });

    for (const name of ['express', 'mcp-node']) {
      test(`the types of ${name} fit`, () =>
        run(process.execPath, ['node_modules/typescript/bin/tsc'], { cwd: FOLDER + name }));
    }
  },
  { only: 'postgres', make: (database) => new BackendsWorld(database), minutes: 6 },
);

function backendTests(world, name) {
  const isMcp = BACKENDS[name].path === '/mcp';
  let backend;
  let tokens;

  before(async () => {
    backend = world.backends[name];
    tokens = { alice: await world.token('alice', backend), bob: await world.token('bob', backend) };
    await backend.start({ issuer: world.procura.issuer, databaseUrl: world.application });
  });
  after(() => backend.stop());

  test('shows each user their own records, and who asked', async () => {
    for (const user of USERS) {
      const { status, shown } = await backend.list(tokens[user]);
      assert.equal(status, 200);
      assert.deepEqual([shown.for, shown.by], [`corp|${user}`, 'agent']);
      assert.deepEqual(shown.records.map(({ note }) => note), ROWS[user]);
    }
  });

  test('does not start as a role to whom no policy applies', async () => {
    const free = new ExampleBackend(name, await ExampleBackend.address(name));
    const started = free.start({ issuer: world.procura.issuer, databaseUrl: world.database });
    await assert.rejects(started, /ended before it was ready:[^]*bypasses row-level security/);
    await free.stop();
  });

  test('tells who has no token where to get one, and for what', async () => {
    const { status, challenge } = await backend.list();
    assert.equal(status, 401);
    const { origin, pathname } = new URL(backend.url);
    const metadata = `${origin}/.well-known/oauth-protected-resource${pathname}`;
    assert.match(challenge, /^Bearer /);
    assert.ok(challenge.includes(`resource_metadata="${metadata}"`), challenge);
    assert.ok(challenge.includes('scope="records.read"'), challenge);

    const document = await (await fetch(metadata)).json();
    assert.equal(document.resource, backend.url);
    // FastMCP writes an issuer with a slash at its end.
    assert.deepEqual(document.authorization_servers.map((url) => url.replace(/\/$/, '')), [world.procura.issuer]);
    assert.deepEqual(document.scopes_supported, ['records.read', 'records.write']);
  });

  test('refuses every token that is not for it, or no longer, or not by a client for a user', async () => {
    for (const [what, token] of Object.entries(await badTokens())) {
      const { status, challenge, shown } = await backend.list(token);
      assert.deepEqual([what, status, shown], [what, 401, undefined]);
      assert.match(challenge, /error="invalid_token"/, what);
    }
    const good = tokens.alice;
    const list = `${backend.url}${isMcp ? '' : '/records'}?access_token=${good}`;
    const inUrl = await fetch(list, { method: isMcp ? 'POST' : 'GET' });
    // No token, or two ways to send one: either is fine.
    assert.ok([400, 401].includes(inUrl.status), String(inUrl.status));
    assert.doesNotMatch(await inUrl.text(), /blood count/);
  });

  test('names all scopes that a request takes when one is missing', async () => {
    const readOnly = await world.token('alice', backend, 'records.read');
    const { status, challenge, shown, trouble } = await backend.add(readOnly, 'Alice: not to be written');
    assert.equal(shown, undefined);
    if (name === 'fastmcp') {
      // It knows the tool only after the answer has begun: an error of the tool, not of HTTP.
      assert.match(trouble, /records\.write|[Uu]nknown tool/);
    } else {
      assert.equal(status, 403);
      assert.match(challenge, /error="insufficient_scope"/);
      assert.ok(challenge.includes('scope="records.read records.write"'), challenge);
    }
  });

  test('says what is wrong with a note that PostgreSQL would not take', async () => {
    const { status, answer, shown, trouble } = await backend.add(tokens.alice, 'Alice: \0');
    assert.equal(shown, undefined);
    assert.equal(status, isMcp ? 200 : 400);
    const said = 'note: 1 to 1000 characters are needed, and U+0000 is none';
    if (name === 'mcp-node') assert.ok(trouble.includes(said), trouble);
    else if (isMcp) assert.equal(trouble, said);
    else assert.deepEqual(JSON.parse(answer), { [name === 'fastapi' ? 'detail' : 'error']: said });
  });

  test(`keeps two users apart in ${CALLS.toLocaleString('en')} interleaved calls`, { timeout: 120_000 }, async () => {
    const bad = Object.values(await badTokens());
    const found = { rows: 0, refused: 0, added: 0, crossings: [] };
    const notes = { alice: [...ROWS.alice], bob: [...ROWS.bob] };
    // First what is there, exactly; then with rows that come, up to the number of them.
    const began = Date.now();
    await inTurn(CALLS - 400, async (index) => {
      const user = USERS[index % 2];
      const headers = index % 3 === 0 ? forged(other[user]) : {};
      if (index % 50 === 49) {
        const { status, shown } = await backend.list(bad[index % bad.length], forged(user));
        if (status !== 401 || shown) found.crossings.push(`a bad token was answered with ${status}`);
        found.refused += 1;
        return;
      }
      look(user, await backend.list(tokens[user], headers), (seen) => String(seen) === String(ROWS[user]));
    });
    await inTurn(400, async (index) => {
      const user = USERS[index % 2];
      if (index % 4 < 2) {
        const note = `${NAMES[user]}: ${name} ${index}`;
        look(user, await backend.add(tokens[user], note, forged(other[user])), (seen) => String(seen) === note);
        notes[user].push(note);
        found.added += 1;
      } else {
        look(user, await backend.list(tokens[user]), (seen) => seen.every((note) => note.startsWith(`${NAMES[user]}: `)));
      }
    });
    const seconds = ((Date.now() - began) / 1000).toFixed(1);

    assert.deepEqual(found.crossings.slice(0, 5), [], `${found.crossings.length} crossings`);
    assert.equal(found.refused, (CALLS - 400) / 50);
    assert.equal(found.added, 200);
    for (const user of USERS) {
      const { shown } = await backend.list(tokens[user]);
      assert.deepEqual(shown.records.map(({ note }) => note).sort(), [...notes[user]].sort());
    }
    // That could have gone wrong: all these calls went over the same few connections.
    const connections = await psql(world.database, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'records_app'");
    assert.ok(connections >= 1 && connections <= 4, `${connections} connections`);
    console.log(`${name}: ${CALLS} calls, ${AT_ONCE} at once, ${found.rows} rows seen, ${connections} connections, ${seconds} s`);
    await psql(world.database, "DELETE FROM health_record WHERE written_by = 'agent'");

    function look(user, { status, shown, answer }, isRight) {
      const seen = shown?.records.map(({ note }) => note);
      found.rows += seen?.length ?? 0;
      if (!shown || shown.for !== `corp|${user}` || !isRight(seen)) {
        found.crossings.push(`${user} got ${status} ${shown ? `${shown.for}: ${seen}` : answer}`);
      }
    }
  });

  test('goes on while Procura is stopped', async () => {
    assert.equal((await backend.list(tokens.alice)).status, 200);
    await world.procura.stop();
    try {
      for (const user of USERS) assert.equal((await backend.list(tokens[user])).shown?.records.length, ROWS[user].length);
    } finally {
      await world.procura.start();
    }
  });

  test("has each query in PostgreSQL's log lead to the person, the client and the consent", async () => {
    const log = async (statements) => {
      await psql(world.database, `ALTER SYSTEM SET log_statement = '${statements}'`);
      await psql(world.database, 'SELECT pg_reload_conf()');
    };
    const before = world.postgres.log.length;
    /** The transaction with the query, once it is there as a whole: its lines and its statements. */
    const transaction = () => {
      // A statement of several lines is one entry.
      const entries = world.postgres.log.slice(before).split(/\n(?=\d{4}-)/).slice(0, -1);
      const line = entries.find((entry) => QUERY.test(entry));
      if (!line) return undefined;
      const [connection] = /\[\d+\]/.exec(line);
      const of = entries.filter((entry) => entry.includes(connection));
      const at = of.indexOf(line);
      const statements = of.slice(at - 2, at + 2).map(statement);
      return statements.at(-1) === 'COMMIT' ? { line, statements } : undefined;
    };
    await log('all');
    try {
      // A connection learns of the setting between two queries.
      const token = tokens.bob;
      const { line, statements } = await eventually(async () => {
        await backend.list(token);
        return transaction();
      }, { what: 'a line of the log with the query' });
      assert.match(line, /records_app@records/);

      const [, jti] = QUERY.exec(line);
      const { sub, act, grant_id } = decodeJwt(token);
      const words = await world.procura.cli('who', jti);
      const found = ['the identity provider corp as bob', sub, act.sub, grant_id, backend.url];
      for (const part of found) assert.ok(words.includes(part), `${part} in:\n${words}`);
      const { event } = await world.procura.json('who', jti);
      assert.deepEqual([event.client, event.grant_id, event.resource], ['agent', grant_id, name]);
      const consents = await world.procura.json('consent', 'list', '--user', sub);
      const { user, client, resource, source } = consents.find(({ id }) => id === grant_id);
      assert.deepEqual([user, client, resource, source], [sub, 'agent', name, 'user']);

      // All that the backend knows of the user ends with this transaction: `true` at each setting.
      const [begin, settings] = statements;
      assert.equal(begin, 'BEGIN');
      const made = [...settings.matchAll(/set_config\('([\w.]+)', \$\d, (\w+)\)/g)].map(([, ...setting]) => setting.join());
      assert.deepEqual(made, ['request.jwt.claims,true', 'app.user_id,true', 'app.agent_id,true']);

      const said = world.postgres.log.slice(before);
      assert.ok(!said.includes(token) && !said.includes('grant_id'), 'neither the token nor its claims are in the log');
    } finally {
      await log('none');
    }
  });

  /** Each kind of token that must get nothing. */
  async function badTokens() {
    const good = tokens.alice;
    const [header, payload, signature] = good.split('.');
    const part = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');
    const elsewhere = world.backends[Object.keys(BACKENDS).find((another) => another !== name)];
    return {
      expired: await world.expiredToken(backend),
      'for another backend': await world.token('alice', elsewhere),
      "the user's ID token": await world.idp.signIn('alice'),
      "the client's own": await world.ownToken(backend),
      "another's name in it": [header, part({ ...decodeJwt(good), sub: 'corp|bob' }), signature].join('.'),
      unsigned: [part({ alg: 'none', typ: 'at+jwt' }), payload, ''].join('.'),
      'no token': 'corp|alice',
    };
  }
}

/** The query of a list in PostgreSQL's log, with the jti in its comment. */
const QUERY = /\/\* jti=(\S+) \*\/ SELECT id, note/;

/** The statement in an entry of PostgreSQL's log. */
const statement = (entry) => /LOG: {2}(?:statement|execute [^:]*): (.*)/s.exec(entry)?.[1].replace(/\s+/g, ' ').trim();

/** Does something `count` times, `AT_ONCE` at a time. */
async function inTurn(count, work) {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
