// Policy: what a user may have done in their name depends on who they are.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MODELS } from '../world/registry.mjs';
import { onEachDatabase } from '../world/world.mjs';

onEachDatabase('a policy', (world) => {
  const medical = async (user, scope = 'model.medical') =>
    world.exchange('assistant', await world.idp.signIn(user), { resource: MODELS, scope });

  test('lets a doctor use the medical model', async () => {
    assert.equal((await medical('alice')).scope, 'model.medical');
  });

  test('keeps it from a patient, and explain names the scope, the policy and the role', async () => {
    const { requestId } = await world.refused(medical('bob'), 400, 'access_denied');
    const { event, words } = await world.explain(requestId);
    assert.equal(event.reason, 'policy_not_permitted');
    assert.equal(event.subject.sub, 'corp|bob');
    for (const word of ['policy_not_permitted', 'model.medical', 'doctors-use-medical-models', 'patient']) {
      assert.ok(words.includes(word), `${word} in:\n${words}`);
    }
  });

  test('narrows what is asked to what is permitted, and the answer says so', async () => {
    assert.equal((await medical('carol', 'model.general model.medical')).scope, 'model.general');
  });

  test('of roles on a scope is decided likewise', async () => {
    const erase = async (user) =>
      world.exchange('assistant', await world.idp.signIn(user), { scope: 'records.delete' });
    assert.equal((await erase('alice')).scope, 'records.delete');
    await world.refused(erase('bob'), 400, 'access_denied');
  });

  test('check foretells what the token endpoint does', async () => {
    await medical('bob', 'model.general');
    const check = (user) => [
      'check', '--user', user, '--client', 'assistant', '--resource', 'models', '--scope', 'model.medical',
    ];
    await medical('alice');
    assert.match(await world.procura.cli(...check('corp|alice')), /granted/i);
    await assert.rejects(world.procura.cli(...check('corp|bob')), ({ code, stdout, stderr }) => {
      assert.equal(code, 1);
      assert.match(stdout + stderr, /policy_not_permitted/);
      return true;
    });
  });
});
