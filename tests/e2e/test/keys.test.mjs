// Our own keys change, and backends need not be told.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeProtectedHeader } from 'jose';
import { verifier } from '../world/backend.mjs';
import { eventually } from '../world/processes.mjs';
import { RECORDS } from '../world/registry.mjs';
import { onEachDatabase } from '../world/world.mjs';

onEachDatabase('a change of our keys', (world) => {
  test('in an emergency ends every token that was issued with the old one', async () => {
    const id_token = await world.idp.signIn('bob');
    const verify = verifier(world.procura.issuer, RECORDS);
    const { access_token: before } = await world.exchange('assistant', id_token);
    await verify(before);

    await world.procura.cli('keys', 'rotate', '--emergency');
    const after = await eventually(
      async () => {
        const { access_token } = await world.exchange('assistant', id_token);
        return decodeProtectedHeader(access_token).kid !== decodeProtectedHeader(before).kid && access_token;
      },
      { what: 'the server to sign with the new key', seconds: 5 },
    );
    const { payload } = await verify(after);
    assert.equal(payload.sub, 'corp|bob');
    await assert.rejects(verify(before), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
  });
});
