// The second hop: the backend that was called calls on, for the same user.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeJwt } from 'jose';
import { verifier } from '../world/backend.mjs';
import { MODELS } from '../world/registry.mjs';
import { ACCESS_TOKEN, onEachDatabase } from '../world/world.mjs';

onEachDatabase('a chain of two hops', (world) => {
  const onward = (token, parameters) =>
    world.exchange('records-backend', token, { subject_token_type: ACCESS_TOKEN, resource: MODELS, ...parameters });

  test('keeps the user and the transaction, and puts the earlier actor below the current one', async () => {
    const { access_token: first } = await world.exchange('assistant', await world.idp.signIn('alice'));
    const { access_token: second } = await onward(first, { scope: 'model.general' });

    const { payload, protectedHeader } = await verifier(world.procura.issuer, MODELS)(second);
    assert.equal(protectedHeader.alg, 'EdDSA');
    assert.equal(payload.sub, 'corp|alice');
    assert.equal(payload.client_id, 'records-backend');
    const iss = world.procura.issuer;
    assert.deepEqual(payload.act, { sub: 'records-backend', iss, act: { sub: 'assistant', iss } });
    const before = decodeJwt(first);
    assert.equal(payload.txn, before.txn);
    assert.notEqual(payload.jti, before.jti);
    assert.ok(payload.exp <= before.exp, 'the second token outlives the first');

    const words = await world.procura.cli('who', payload.jti);
    for (const name of ['corp|alice', 'records-backend', 'assistant']) assert.ok(words.includes(name), words);
  });

  test('knows the roles of the user, which the first token need not carry', async () => {
    const { access_token: alice } = await world.exchange('assistant', await world.idp.signIn('alice'));
    assert.equal((await onward(alice, { scope: 'model.medical' })).scope, 'model.medical');

    const { access_token: bob } = await world.exchange('assistant', await world.idp.signIn('bob'));
    await world.refused(onward(bob, { scope: 'model.medical' }), 400, 'access_denied');
  });

  test('starts only from a token that was meant for the backend', async () => {
    const elsewhere = await world.exchange('assistant', await world.idp.signIn('alice'), {
      resource: MODELS,
      scope: 'model.general',
    });
    const { requestId } = await world.refused(onward(elsewhere.access_token), 400, 'invalid_request');
    assert.equal((await world.explain(requestId)).event.reason, 'subject_token_not_addressed');
  });
});
