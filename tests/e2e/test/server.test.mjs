// The server as whoever runs it sees it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../world/processes.mjs';
import { onEachDatabase } from '../world/world.mjs';

onEachDatabase('the server', (world) => {
  test('is alive, ready, and counts what it decides', async () => {
    await world.exchange('assistant', await world.idp.signIn('alice'));
    for (const path of ['/healthz', '/readyz']) {
      assert.equal((await fetch(world.procura.issuer + path)).status, 200, path);
    }
    const metrics = await (await fetch(`${world.procura.admin}/metrics`)).text();
    assert.match(metrics, /^procura_\w+_total\{.*granted.*\} 1$/m);
    assert.equal((await fetch(`${world.procura.issuer}/metrics`)).status, 404, 'metrics are public');
  });

  test('does not tell its secrets in its log', async () => {
    const id_token = await world.idp.signIn('alice');
    const { access_token } = await world.exchange('assistant', id_token);
    const { log } = world.procura;
    assert.match(log, /decision/);
    for (const secret of [id_token, access_token, world.secrets.assistant]) assert.equal(log.includes(secret), false);
  });

  test('told to end says first that it is not ready, then ends in good order, and starts again', async () => {
    await world.procura.cli('healthcheck');
    const ended = world.procura.stop('SIGTERM');
    await eventually(async () => (await fetch(`${world.procura.issuer}/readyz`)).status === 503, { seconds: 5 });
    assert.equal(await ended, 0);
    await assert.rejects(world.procura.cli('healthcheck'), { code: 1 });

    await world.procura.start();
    await world.exchange('assistant', await world.idp.signIn('alice'));
  });
});
