// Consent: without the user's agreement there is no token, and after it was taken back neither.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeJwt } from 'jose';
import { eventually } from '../world/processes.mjs';
import { onEachDatabase } from '../world/world.mjs';

onEachDatabase('consent', (world) => {
  const exchange = (id_token) => world.exchange('companion', id_token, { scope: 'records.read' });

  test('is asked for with a link', async () => {
    const { body, requestId } = await world.refused(exchange(await world.idp.signIn('alice')), 400, 'consent_required');
    assert.ok(body.consent_uri.startsWith(`${world.procura.issuer}/consent/`), body.consent_uri);
    assert.equal(body.expires_in, 600);
    assert.equal(body.interval, 5);
    assert.equal((await world.explain(requestId)).event.reason, 'consent_missing');

    const page = await fetch(body.consent_uri);
    // The provider of these tests signs nobody in here; see pages.test.mjs for one that does.
    assert.equal(page.status, 503);
    assert.match(page.headers.get('content-type'), /^text\/html/);
    assert.equal(page.headers.get('cache-control'), 'no-store');
    assert.match(page.headers.get('content-security-policy'), /frame-ancestors 'none'/);
    const html = await page.text();
    assert.match(html, /Sign-in is not set up/);
    assert.equal((await (await fetch(`${body.consent_uri}/status`)).json()).status, 'pending');
    assert.equal((await fetch(`${world.procura.issuer}/consent/unknown`)).status, 404);
  });

  test('once given lets the client act, for this user and no other', async () => {
    const { id } = await grant('corp|alice');
    const alice = await world.idp.signIn('alice');
    const { access_token, scope } = await learned(() => exchange(alice));
    assert.equal(scope, 'records.read');
    assert.equal(decodeJwt(access_token).grant_id, id);

    await world.refused(exchange(await world.idp.signIn('bob')), 400, 'consent_required');
  });

  test('covers no more than was agreed to', async () => {
    await grant('corp|alice');
    const alice = await world.idp.signIn('alice');
    await learned(() => exchange(alice));
    const answer = await world.exchange('companion', alice, { scope: 'records.read records.delete' });
    assert.equal(answer.scope, 'records.read');
  });

  test('taken back stops the client within a second or so', async () => {
    const { id } = await grant('corp|bob');
    const bob = await world.idp.signIn('bob');
    await learned(() => exchange(bob));
    await world.procura.cli('consent', 'revoke', id);
    const { requestId } = await eventually(() => world.refused(exchange(bob), 400, 'consent_required'), {
      what: 'the server to learn of the revocation',
      seconds: 5,
    });
    assert.equal((await world.explain(requestId)).event.reason, 'consent_revoked');
  });

  const grant = (user) =>
    world.procura.json(
      'consent', 'grant', '--user', user, '--client', 'companion', '--resource', 'records', '--scope', 'records.read');

  const learned = (attempt) => eventually(attempt, { what: 'the server to learn of the consent', seconds: 5 });
});
