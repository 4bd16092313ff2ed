// The identity provider changes its keys, and nobody tells us.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeProtectedHeader } from 'jose';
import { eventually } from '../world/processes.mjs';
import { onEachDatabase } from '../world/world.mjs';

const define = (world) => {
  test('is noticed by the first token that needs the new one', async () => {
    const before = await world.idp.signIn('alice');
    await world.exchange('assistant', before);
    await world.idp.rotateKeys();
    const after = await world.idp.signIn('alice');
    assert.notEqual(decodeProtectedHeader(after).kid, decodeProtectedHeader(before).kid);
    // Keys are fetched for an unknown kid at most once in 30 seconds, so that nobody can make the server hammer it.
    await eventually(() => world.exchange('assistant', after), { what: 'the new key to be fetched', seconds: 40 });
  });
};

// Half a minute long, and the database has no part in it: once is enough.
onEachDatabase("a change of the identity provider's keys", define, { only: 'sqlite' });
