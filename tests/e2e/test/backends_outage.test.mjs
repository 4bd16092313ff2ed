// The backends of examples/backends/, and the code of the documentation, while the issuer cannot be reached, and when it
// withdraws a key: with the real servers, and a clock that is moved past what the libraries keep by themselves.
// `procura::verify` has tests of its own.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { decodeJwt, decodeProtectedHeader, generateKeyPair, SignJWT } from 'jose';
import { BackendsWorld } from '../world/backends_world.mjs';
import { DocumentedVerifier } from '../world/documented_verifiers.mjs';
import { MovedClock } from '../world/moved_clock.mjs';
import { eventually } from '../world/processes.mjs';
import { onEachDatabase } from '../world/world.mjs';

const MINUTE = 60;
const HOUR = 60 * MINUTE;

/** What each answers when it can verify nobody. The MCP frameworks have no answer for that. */
const WITHOUT_KEYS = { express: 503, 'mcp-node': 500, fastapi: 503, fastmcp: 401 };
const NAMES = Object.keys(WITHOUT_KEYS);
const PAGES = DocumentedVerifier.all();

onEachDatabase(
  'the example backends and the keys',
  (world) => {
    let folder;
    let clock;
    const tokens = {};

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'procura-clock-'));
      clock = new MovedClock(folder);
      for (const name of NAMES) tokens[name] = await world.token('alice', world.backends[name]);
    });
    after(() => rm(folder, { recursive: true }));

    let isAway = false;
    const goAway = async () => {
      await world.procura.stop();
      isAway = true;
    };
    const comeBack = async () => {
      if (isAway) await world.procura.start();
      isAway = false;
    };
    const start = () =>
      Promise.all(
        NAMES.map((name) => {
          const settings = { issuer: world.procura.issuer, databaseUrl: world.application, more: clock.env };
          return world.backends[name].start(settings);
        }),
      );
    const stop = () => Promise.all([...NAMES.map((name) => world.backends[name].stop()), ...PAGES.map((page) => page.stop())]);
    const startPages = () =>
      Promise.all(
        PAGES.map((page) => {
          const audience = world.backends[page.inPlaceOf].url;
          return page.start({ folder, issuer: world.procura.issuer, audience, more: clock.env });
        }),
      );
    const list = (name, token = tokens[name]) => world.backends[name].list(token);

    /** Asks for Alice's records, which must be there. */
    const shows = async (name, token) => {
      const { status, shown } = await list(name, token);
      assert.equal(status, 200, world.backends[name].log);
      assert.deepEqual([shown.for, shown.records.length], ['corp|alice', 3]);
    };
    const refuses = async (name, token, expected = 401) => {
      const { status, shown } = await list(name, token);
      assert.deepEqual([status, shown], [expected, undefined]);
    };

    describe('while Procura is stopped', () => {
      let stranger;

      before(async () => {
        stranger = (await generateKeyPair('ES256')).privateKey;
        await clock.move(-(24 * HOUR - 30 * MINUTE));
        await Promise.all([start(), startPages()]);
        // Whatever they say of a token that is made in the future: now they have the keys.
        for (const name of NAMES) await refuses(name);
        for (const page of PAGES) await page.letsIn(tokens[page.inPlaceOf]);
        await goAway();
        await clock.move(0);
      });
      after(async () => {
        await stop();
        await comeBack();
      });

      const signedByStranger = (name, kid) =>
        new SignJWT(decodeJwt(tokens[name])).setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid }).sign(stranger);

      for (const name of NAMES) {
        test(`${name} uses keys of 23 hours and a half, and no others`, async () => {
          await shows(name);
          await refuses(name, await signedByStranger(name, 'strange'));
          await refuses(name, await signedByStranger(name, decodeProtectedHeader(tokens[name]).kid));
          await shows(name);
        });
      }

      for (const page of PAGES) {
        test(`the code of ${page.name}, does so, too`, async () => {
          assert.equal(await page.letsIn(tokens[page.inPlaceOf]), true);
          assert.equal(await page.letsIn(await signedByStranger(page.inPlaceOf, 'strange')), false);
          assert.equal(await page.letsIn(tokens[page.inPlaceOf]), true);
        });
      }

      describe('and something else answers with errors', () => {
        let instead;
        let asked = 0;

        before(async () => {
          instead = createServer((_request, response) => {
            asked += 1;
            response.writeHead(502).end('no upstream');
          });
          const { hostname, port } = new URL(world.procura.issuer);
          instead.listen(Number(port), hostname);
          await once(instead, 'listening');
        });
        after(() => {
          instead.close();
          instead.closeAllConnections();
        });

        for (const name of NAMES) {
          test(`${name} asks now and then, not at every token`, async () => {
            await clock.move(0);
            asked = 0;
            for (let index = 0; index < 20; index += 1) await refuses(name, await signedByStranger(name, `strange-${index}`));
            assert.ok(asked <= 1, `asked ${asked} times for an unknown kid`);
            await clock.move(5 * MINUTE);
            asked = 0;
            for (let index = 0; index < 20; index += 1) await shows(name);
            assert.equal(asked, 1);
          });
        }
      });

      describe('for more than a day', () => {
        before(() => clock.move(31 * MINUTE));

        for (const name of NAMES) test(`${name} verifies nobody`, () => refuses(name, tokens[name], WITHOUT_KEYS[name]));
        for (const page of PAGES) {
          test(`the code of ${page.name}, neither`, async () => {
            assert.equal(await page.letsIn(tokens[page.inPlaceOf]), false);
          });
        }

        test('and all of them do again when it is back', async () => {
          await comeBack();
          await clock.move(32 * MINUTE);
          for (const name of NAMES) await shows(name);
          for (const page of PAGES) assert.equal(await page.letsIn(tokens[page.inPlaceOf]), true, page.name);
        });
      });
    });

    describe('started while Procura is stopped', () => {
      before(async () => {
        await clock.move(0);
        await goAway();
        await start();
      });
      after(async () => {
        await stop();
        await comeBack();
      });

      for (const name of NAMES) test(`${name} verifies nobody`, () => refuses(name, tokens[name], WITHOUT_KEYS[name]));

      test('all of them do when it is there', async () => {
        await comeBack();
        await clock.move(1 * MINUTE);
        for (const name of NAMES) await shows(name);
      });
    });

    describe('within five minutes of the withdrawal of a key', () => {
      before(async () => {
        await clock.move(0);
        await Promise.all([start(), startPages()]);
        for (const name of NAMES) await shows(name);
        for (const page of PAGES) assert.equal(await page.letsIn(tokens[page.inPlaceOf]), true, page.name);
        const withdrawn = decodeProtectedHeader(tokens.express).kid;
        await world.procura.cli('keys', 'rotate', '--emergency');
        await eventually(async () => {
          const { keys } = await (await fetch(`${world.procura.issuer}/.well-known/jwks.json`)).json();
          return keys.every(({ kid }) => kid !== withdrawn);
        }, { what: 'a JWKS without the key' });
        await clock.move(5 * MINUTE);
      });
      after(stop);

      for (const name of NAMES) {
        test(`${name} refuses what it signed, and takes what the new one signs`, async () => {
          await refuses(name);
          await shows(name, await world.token('alice', world.backends[name]));
        });
      }
      for (const page of PAGES) {
        test(`the code of ${page.name}, does so, too`, async () => {
          assert.equal(await page.letsIn(tokens[page.inPlaceOf]), false);
          assert.equal(await page.letsIn(await world.token('alice', world.backends[page.inPlaceOf])), true);
        });
      }
    });
  },
  { only: 'postgres', make: (database) => new BackendsWorld(database), minutes: 3 },
);
