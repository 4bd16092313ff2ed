// Two servers over one database: refresh tokens do not fork, and what a user ends on one server ends on both.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { decodeJwt } from 'jose';
import { atTheFrontDoor } from '../world/front_door.mjs';
import { granted, OAuthClient } from '../world/oauth_client.mjs';
import { ACCESS_TOKEN, TOKEN_EXCHANGE } from '../world/world.mjs';

const REDIRECT_URI = 'http://127.0.0.1:4449/callback';
const AT_ONCE = 50;

atTheFrontDoor(
  'two servers',
  (world) => {
    let replica;

    before(async () => void (replica = await world.procura.replica()), { timeout: 60_000 });
    after(() => replica?.stop());

    /** The same client, once for each server. */
    const clients = () => [world.issuer, replica.url].map((server) => new OAuthClient(server, { client_id: 'desk' }));

    const connect = async (user) => {
      const client = new OAuthClient(world.issuer, { client_id: 'desk' });
      return granted(await client.redeem(await client.code(user, { redirect_uri: REDIRECT_URI })));
    };

    test('make one successor of a refresh token that is shown to both many times at once', async () => {
      const { refresh_token } = await connect(world.user('alice'));
      const answers = await Promise.all(
        Array.from({ length: AT_ONCE }, (_, index) => clients()[index % 2].refresh(refresh_token)),
      );
      const successors = new Set();
      for (const answer of answers) successors.add((await granted(answer)).refresh_token);
      assert.equal(successors.size, 1, 'the family forked');

      const [here, there] = clients();
      const [successor] = successors;
      const lost = await granted(await there.refresh(refresh_token));
      assert.equal(lost.refresh_token, successor, 'an answer that was lost can be had again');
      const next = await granted(await here.refresh(successor));
      assert.notEqual(next.refresh_token, successor);
    });

    test('both refuse within a second what the user ended on one, and the past stays known', async () => {
      const user = world.user('bob');
      const { refresh_token, access_token } = await connect(user);
      const grant = [
        '--user',
        'corp|bob',
        '--client',
        'records-mcp',
        '--resource',
        'models',
        '--scope',
        'model.general',
      ];
      await world.procura.cli('consent', 'grant', ...grant);

      const secret = { client_id: 'records-mcp', client_secret: world.secrets['records-mcp'] };
      const method = { token_endpoint_auth_method: 'client_secret_basic' };
      const attempts = [world.issuer, replica.url].flatMap((server) => {
        const desk = new OAuthClient(server, { client_id: 'desk' });
        const backend = new OAuthClient(server, { ...secret, ...method });
        return [
          async () => (await desk.refresh(refresh_token)).status,
          async () => {
            const parameters = {
              subject_token: access_token,
              subject_token_type: ACCESS_TOKEN,
              resource: world.models,
            };
            return (await backend.token({ grant_type: TOKEN_EXCHANGE, ...parameters })).status;
          },
        ];
      });
      const deadline = Date.now() + 5000;
      while ((await Promise.all(attempts.map((attempt) => attempt()))).some((status) => status !== 200)) {
        assert.ok(Date.now() < deadline, 'not everything is granted before anything is ended');
      }

      const account = await user.browser.open(`${world.issuer}/account`);
      const preview = await user.browser.press(account, /^End what/);
      const endedAt = performance.now();
      const done = await user.browser.press(preview, /^End it/);
      assert.equal(done.status, 200, done.text);
      for (const attempt of attempts) {
        while ((await attempt()) === 200) assert.ok(performance.now() - endedAt < 1000, 'still granted after a second');
      }

      const who = await world.procura.json('who', decodeJwt(access_token).jti);
      assert.ok(JSON.stringify(who).includes('corp|bob'));
    });
  },
  { only: 'postgres' },
);
