// The pages in a real browser: the way from a client's question to a user's answer, with mouse, keyboard and phone, with
// and without script, and the user's own page. axe finds nothing on any of them, and a picture of each is kept.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { PHONE } from '../world/browser.mjs';
import { eventually } from '../world/processes.mjs';
import { withPages } from '../world/pages_world.mjs';

withPages(
  'the consent page',
  (world) => {
    const heading = (page) => page.getByRole('heading', { level: 1 });
    const button = (page, name) => page.getByRole('button', { name, exact: true });
    const box = (page, name) => page.getByRole('checkbox', { name });

    /** A page of the user, signed in and at the question. */
    async function asked(user, wish, options) {
      const page = await world.browser.page(options);
      const uri = await world.consentUri(user, wish);
      await page.goto(uri);
      await world.signIn(page, user);
      await heading(page).waitFor();
      return { page, uri };
    }

    test('says who asks whom for what, and after Allow the client goes on', async () => {
      const { page, uri } = await asked('alice');
      assert.equal(await heading(page).innerText(), 'Pocket Companion wants to act for you');
      const text = await page.locator('main').innerText();
      for (const said of [
        'alice@example.com at Example Corp',
        'Approved by the administrator of Example Corp',
        'At Health records',
        'It can see',
        'It can change',
        'It can delete, or do what cannot be undone',
        'see your bills',
        'each pass lasts 5 minutes',
        'administrators of Example Corp',
      ]) {
        assert.ok(text.includes(said), `the page does not say "${said}":\n${text}`);
      }
      assert.ok(!text.includes('records.read'), 'the words of the protocol are folded away');
      assert.equal(await box(page, 'See your health records').isChecked(), true);
      assert.equal(await box(page, 'Delete a health record').isChecked(), false, 'what destroys is not ticked');
      assert.equal(await page.getByRole('radio', { name: '30 days' }).isChecked(), true);
      await world.browser.look(page, 'consent');

      assert.equal(await world.status(uri), 'pending');
      await button(page, 'Allow').click();
      assert.equal(await heading(page).innerText(), 'Done. Go back to the app.');
      await world.browser.look(page, 'consent-allowed');
      assert.equal(await world.status(uri), 'allowed');
      const { scope } = await world.ask('alice');
      assert.equal(scope, 'appointments.read appointments.write records.read');

      await page.goto(uri);
      assert.match(await heading(page).innerText(), /already/);
    });

    test('reads in order to whoever hears it: who, as whom, what, for how long, no and yes', async () => {
      const { page } = await asked('bob', { scope: 'records.read records.delete' });
      const heard = await page.locator('main').ariaSnapshot();
      const lines = [
        'heading "Pocket Companion wants to act for you" [level=1]',
        'strong: bob@example.com',
        'listitem: Approved by the administrator',
        'heading "At Health records" [level=2]',
        'group "It can see"',
        'checkbox "See your health records" [checked]',
        'group "It can delete, or do what cannot be undone"',
        'paragraph: Tick only what you want',
        'checkbox "Delete a health record"',
        'strong: "It cannot:"',
        'group "For how long?"',
        'radio "30 days" [checked]',
        'button "Deny"',
        'button "Allow"',
      ];
      let from = 0;
      for (const line of lines) {
        const at = heard.indexOf(line, from);
        assert.ok(at >= 0, `${line} is not heard, or too early:\n${heard}`);
        from = at;
      }
    });

    test('marks what is new beside what was allowed before', async () => {
      const { page } = await asked('alice', { scope: 'records.delete' });
      const line = (name) => page.locator('label.tick', { hasText: name });
      assert.match(await line('See your health records').innerText(), /allowed before/);
      assert.match(await line('Delete a health record').innerText(), /new/);
      assert.equal(await box(page, 'Delete a health record').isChecked(), false);
      await world.browser.look(page, 'consent-more');
      await box(page, 'Delete a health record').check();
      await button(page, 'Allow').click();
      await heading(page).filter({ hasText: 'Done' }).waitFor();
      const { scope } = await world.ask('alice');
      assert.equal(scope, 'appointments.read appointments.write records.delete records.read');
    });

    test('takes no for an answer, and nothing ticked for none', async () => {
      const { page, uri } = await asked('bob');
      const ticked = page.getByRole('checkbox', { checked: true });
      while ((await ticked.count()) > 0) await ticked.first().uncheck();
      await button(page, 'Allow').click();
      assert.match(await page.getByRole('alert').innerText(), /Nothing is ticked/);
      assert.equal(await world.status(uri), 'pending');
      assert.equal(await ticked.count(), 0, 'the boxes stand as they were left');
      await world.browser.look(page, 'consent-nothing-ticked');
      await button(page, 'Deny').click();
      assert.equal(await heading(page).innerText(), 'Not allowed');
      await world.browser.look(page, 'consent-denied');
      assert.equal(await world.status(uri), 'denied');
      await world.refused(world.ask('bob'), 400, 'consent_required');
    });

    test('is answered by keyboard alone: boxes before the answer, and Enter in a box is no yes', async () => {
      const { page, uri } = await asked('bob', { scope: 'records.read appointments.read' }, { viewport: PHONE });
      const focused = () => page.evaluate(() => document.activeElement.value ?? document.activeElement.textContent);
      const visited = [];
      while (visited.at(-1) !== 'allow') {
        assert.ok(visited.length < 40, `the button is not reached: ${visited.join(', ')}`);
        await page.keyboard.press('Tab');
        visited.push(await focused());
        if (visited.at(-1) === 'appointments.read') await page.keyboard.press('Space');
      }
      assert.ok(visited.indexOf('records.read') < visited.indexOf('deny'), visited.join(', '));
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
      assert.equal(outline, 'solid', 'where the keyboard is can be seen');
      await page.keyboard.press('Enter');
      await heading(page).filter({ hasText: 'Done' }).waitFor();
      assert.equal(await world.status(uri), 'allowed');
      assert.equal((await world.ask('bob', { scope: 'records.read appointments.read' })).scope, 'records.read');

      const again = await asked('bob', { scope: 'appointments.write' });
      await box(again.page, 'Book and move').focus();
      await again.page.keyboard.press('Enter');
      await heading(again.page).filter({ hasText: 'Not allowed' }).waitFor();
    });

    test('works on a phone without script', async () => {
      const { page, uri } = await asked('carol', {}, { viewport: PHONE, script: false });
      await box(page, 'Book and move').uncheck();
      await page.getByRole('radio', { name: '1 hour' }).check();
      await button(page, 'Allow').click();
      assert.equal(await heading(page).innerText(), 'Done. Go back to the app.');
      assert.equal(await world.status(uri), 'allowed');
      assert.equal((await world.ask('carol')).scope, 'appointments.read records.read');
      const [consent] = await world.procura.json('consent', 'list', '--user', 'corp|carol', '--client', 'companion');
      assert.equal(consent.expires_at - consent.granted_at, 3600);
    });

    test('gives yes and no the same weight', async () => {
      const { page } = await asked('bob', { scope: 'records.delete' });
      const look = (name) =>
        button(page, name).evaluate((element) => {
          const { width, height } = element.getBoundingClientRect();
          const { color, backgroundColor, borderColor, fontWeight, fontSize } = getComputedStyle(element);
          return { width, height, color, backgroundColor, borderColor, fontWeight, fontSize };
        });
      assert.deepEqual(await look('Allow'), await look('Deny'));
    });

    test('is for one user: another is told so, and can choose another account', async () => {
      const page = await world.browser.page();
      await page.goto(`${world.procura.issuer}/account`);
      await world.signIn(page, 'bob');
      await heading(page).waitFor();
      const uri = await world.consentUri('alice', { scope: 'billing.read' }).catch(() => undefined);
      assert.equal(uri, undefined, 'beyond the ceiling nobody is asked');
      await world.procura.cli('consent', 'revoke', await consentOf('corp|alice'));
      const mine = await eventually(() => world.consentUri('alice'), { what: 'the end of the consent', seconds: 5 });
      const response = await page.goto(mine);
      assert.equal(response.status(), 403);
      assert.match(await heading(page).innerText(), /another account/);
      const text = await page.locator('main').innerText();
      assert.ok(text.includes('bob@example.com') && !text.includes('alice'), text);
      await world.browser.look(page, 'consent-wrong-user');
      await page.getByRole('link', { name: 'Use another account' }).click();
      await page.locator('input[name=password]').waitFor();
      await world.signIn(page, 'alice');
      assert.match(await heading(page).innerText(), /wants to act for you/);
    });

    test('a57 shows an app that nobody vouches for as what it is, before anybody signs in', async () => {
      const redirect_uri = 'http://127.0.0.1:41777/callback';
      const registration = { client_name: `Pocket Companion ${'by Acme '.repeat(9)}`, redirect_uris: [redirect_uri] };
      const registered = await fetch(`${world.procura.issuer}/register`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...registration, token_endpoint_auth_method: 'none' }),
      });
      const { client_id, ...problem } = await registered.json();
      assert.equal(registered.status, 201, JSON.stringify(problem));
      const page = await world.browser.page();
      await page.goto(await world.authorization(client_id, redirect_uri, { scope: 'openid email records.read' }));
      assert.equal(await heading(page).innerText(), 'A new app wants to connect to Health records');
      const before = await page.locator('main').innerText();
      for (const said of ['not verified', 'looks like “Pocket Companion”', '127.0.0.1:41777', 'Next you sign in at Example Corp']) {
        assert.ok(before.includes(said), `the page does not say "${said}":\n${before}`);
      }
      await world.browser.look(page, 'connect');
      await button(page, 'Continue').click();
      await world.signIn(page, 'carol');
      assert.equal(await heading(page).innerText(), 'A new app wants to act for you');
      assert.match(await page.locator('main').innerText(), /It is told your e-mail address/);
      await world.browser.look(page, 'consent-new-app');
      const left = page.waitForRequest((request) => request.url().startsWith(redirect_uri));
      await button(page, 'Deny').click();
      assert.match((await left).url(), /error=access_denied/);
    });

    test('of which two are open takes nothing away that the other allowed', async () => {
      const first = await asked('carol', { scope: 'appointments.write' });
      const second = await asked('carol', { scope: 'records.delete' });
      await box(second.page, 'Delete a health record').check();
      await button(second.page, 'Allow').click();
      await heading(second.page).filter({ hasText: 'Done' }).waitFor();
      await button(first.page, 'Allow').click();
      assert.match(await first.page.getByRole('alert').innerText(), /allowed this app something else meanwhile/);
      assert.equal(await box(first.page, 'Delete a health record').isChecked(), true);
      await world.browser.look(first.page, 'consent-meanwhile');
      await button(first.page, 'Allow').click();
      await heading(first.page).filter({ hasText: 'Done' }).waitFor();
      const wish = { scope: 'appointments.write records.delete' };
      assert.equal((await world.ask('carol', wish)).scope, 'appointments.write records.delete');
    });

    test('that is not there says what to do', async () => {
      const page = await world.browser.page();
      const response = await page.goto(`${world.procura.issuer}/consent/nothing`);
      assert.equal(response.status(), 404);
      assert.match(await page.locator('main').innerText(), /start again/);
      assert.equal(await world.status(`${world.procura.issuer}/consent/nothing`), 'expired');
      await world.browser.look(page, 'error');
    });

    test('is left for a program by a page that says what was heard', async () => {
      const program = 'cursor://anysphere.cursor-mcp/oauth/callback';
      for (const [answer, said, more, picture] of [
        ['Deny', 'You said no', 'Nothing was allowed.', 'leave-deny'],
        ['Allow', 'You allowed it', 'take it back at any time', 'leave-allow'],
        ['Deny', 'You said no', 'What you had allowed this app before goes on', 'leave-deny-more'],
      ]) {
        const page = await world.browser.page();
        await page.goto(await world.authorization('connector', program, { scope: 'records.read', prompt: 'consent' }));
        await world.signIn(page, 'carol');
        await button(page, answer).click();
        assert.equal(await heading(page).innerText(), said);
        const text = await page.locator('main').innerText();
        assert.ok(text.includes(more), `the page does not say "${more}":\n${text}`);
        assert.match(await page.getByRole('link', { name: 'Open cursor' }).getAttribute('href'), /^cursor:/);
        await world.browser.look(page, picture);
      }
    });

    test('comes with a choice where there are several providers, and says for whom', async () => {
      const second = `
[[identity_provider]]
id = "partner"
issuer = "https://login.partner.example"
name = "Partner Clinic"
login = { client_id = "procura", scopes = ["openid"] }
`;
      const registry = await world.procura.cli('export');
      await world.procura.apply(registry + second);
      try {
        const page = await world.browser.page();
        const link = await world.authorization('connector', 'http://localhost:41778/callback', { scope: 'records.read' });
        await eventually(
          async () => {
            await page.goto(link);
            return (await page.locator('h1').allInnerTexts())[0] === 'Where do you sign in?';
          },
          { what: 'the choice', seconds: 5 },
        );
        const text = await page.locator('main').innerText();
        assert.ok(text.includes('Desk Connector wants to act for you') && text.includes('Partner Clinic'), text);
        await world.browser.look(page, 'choose-provider');
        await button(page, 'Example Corp').click();
        await world.signIn(page, 'carol');
        assert.match(await heading(page).innerText(), /wants to act for you/);
      } finally {
        await writeFile(join(tmpdir(), `procura-registry-${process.pid}.toml`), registry);
        await world.procura.cli('apply', join(tmpdir(), `procura-registry-${process.pid}.toml`), '--prune');
        await rm(join(tmpdir(), `procura-registry-${process.pid}.toml`));
      }
    });

    test('is not reached by what cannot be: the user is told, and nothing is sent by itself', async () => {
      const redirect_uri = 'https://newcomer.example.invalid/callback';
      const registered = await fetch(`${world.procura.issuer}/register`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ client_name: 'Newcomer', redirect_uris: [redirect_uri], token_endpoint_auth_method: 'none' }),
      });
      const { client_id } = await registered.json();
      const page = await world.browser.page();
      await page.goto(await world.authorization(client_id, redirect_uri, { resource: 'https://elsewhere.example' }));
      assert.equal(await heading(page).innerText(), 'The app got nothing');
      assert.match(await page.locator('main').innerText(), /give this number:\s+req_/);
      await world.browser.look(page, 'stay');

      await page.goto(await world.authorization(client_id, 'https://evil.example.invalid/callback'));
      assert.equal(await heading(page).innerText(), 'This app cannot be answered');
      await world.browser.look(page, 'error-redirect-uri');

      await page.goto(await world.authorization('dcr_nobodynobodynobodynob', redirect_uri));
      assert.match(await page.locator('main').innerText(), /connect it again/);
      await world.browser.look(page, 'error-unknown-app');

      // An address that was kept, and a form that was sent before.
      const response = await page.goto(`${world.procura.issuer}/authorize/decision`);
      assert.equal(response.status(), 404);
      assert.equal(await heading(page).innerText(), 'There is nothing here');
      await world.browser.look(page, 'error-nothing-here');
      await page.goto(await world.authorization('connector', 'http://localhost:41778/callback', { scope: 'records.read' }));
      await world.signIn(page, 'carol');
      await page.evaluate(() => {
        document.querySelector('input[name=form]').value = 'damaged';
      });
      await button(page, 'Allow').click();
      assert.equal(await heading(page).innerText(), 'This form cannot be used');
      await world.browser.look(page, 'error-form');
      await page.goto(`${world.procura.issuer}/callback/corp?state=made-up&code=x`);
      assert.equal(await heading(page).innerText(), 'This sign-in cannot go on');
      await world.browser.look(page, 'error-sign-in');
    });

    test('a54 is not shown in a frame of another site, and neither is any other page', async () => {
      const uri = await world.consentUri('bob', { scope: 'records.delete' });
      const pages = [uri, `${world.procura.issuer}/account`, `${world.procura.issuer}/consent/nothing`];
      const site = createServer((_, response) => {
        response.setHeader('content-type', 'text/html');
        response.end(pages.map((page, index) => `<iframe name="f${index}" src="${page}"></iframe>`).join(''));
      }).listen(0, '127.0.0.1');
      await once(site, 'listening');
      try {
        const { page } = await asked('bob', { scope: 'records.delete' });
        await page.goto(`http://localhost:${site.address().port}/`, { waitUntil: 'load' });
        for (const index of pages.keys()) {
          const frame = page.frame({ name: `f${index}` });
          assert.ok(frame, `frame ${index}`);
          assert.ok(!(await frame.content()).includes('procura.css'), `${pages[index]} is shown in a frame`);
        }
      } finally {
        site.closeAllConnections();
        site.close();
      }
    });

    const consentOf = async (user) => (await world.procura.json('consent', 'list', '--user', user))[0].id;
  },
  { only: 'sqlite' },
);

withPages('the account page', (world) => {
  const heading = (page) => page.getByRole('heading', { level: 1 });
  const button = (page, name) => page.getByRole('button', { name, exact: true });
  const change = (page) => page.getByRole('link', { name: 'Change what Pocket Companion may do at Health records' });
  const granted = async () => (await world.ask('alice')).scope;

  async function signedIn(user, options) {
    const page = await world.browser.page(options);
    await page.goto(`${world.procura.issuer}/account`);
    await world.signIn(page, user);
    await heading(page).waitFor();
    return page;
  }

  test('lists who acts for the user, and lets them take away', async () => {
    const page = await signedIn('alice');
    await page.goto(await world.consentUri('alice'));
    await button(page, 'Allow').click();
    await heading(page).filter({ hasText: 'Done' }).waitFor();
    for (let times = 0; times < 3; times += 1) await granted();

    await page.goto(`${world.procura.issuer}/account`);
    const card = page.locator('li.card', { hasText: 'Pocket Companion' });
    const text = await card.innerText();
    for (const said of ['Approved by the administrator', 'See your health records', 'Used 3 times, last on', 'Since ']) {
      assert.ok(text.includes(said), `the card does not say "${said}":\n${text}`);
    }
    const everyone = page.locator('li.card', { hasText: 'Acme Assistant' });
    assert.match(await everyone.innerText(), /The administrator agreed for everyone/);
    assert.equal(await everyone.getByRole('link').count(), 0, 'what an administrator agreed to is not for users to end');
    await world.browser.look(page, 'account');

    await change(page).click();
    await world.browser.look(page, 'account-agreement');
    await page.getByRole('checkbox', { name: 'Book and move' }).uncheck();
    await button(page, 'Keep only what is ticked').click();
    assert.match(await page.getByRole('status').innerText(), /may do less/);
    assert.equal(await granted(), 'appointments.read records.read');

    await change(page).click();
    await page.getByRole('radio', { name: 'In 1 day' }).check();
    await button(page, 'End it then').click();
    assert.match(await page.getByRole('status').innerText(), /ends sooner/);
    await change(page).click();
    assert.deepEqual(await page.getByRole('radio').count(), 1, 'only an end that is sooner can be chosen');

    const question = await world.consentUri('alice', { scope: 'records.delete' });
    await button(page, 'Pause').click();
    assert.match(await card.innerText(), /paused/);
    await page.goto(question);
    assert.equal(await heading(page).innerText(), 'You paused this app');
    await world.browser.look(page, 'consent-paused');
    await page.goto(`${world.procura.issuer}/account`);
    const { requestId } = await world.refused(world.ask('alice'), 400, 'access_denied');
    assert.equal((await world.explain(requestId)).event.reason, 'consent_paused');
    await change(page).click();
    await world.browser.look(page, 'account-paused');
    await button(page, 'Let it go on').click();
    assert.equal(await granted(), 'appointments.read records.read');

    await page.getByRole('link', { name: 'End what Pocket Companion may do at Health records' }).click();
    const preview = await page.locator('main').innerText();
    for (const said of ['See your health records', 'within 5 minutes at the latest', 'What it already read']) {
      assert.ok(preview.includes(said), `the preview does not say "${said}":\n${preview}`);
    }
    await world.browser.look(page, 'account-end');
    await button(page, 'End it').click();
    assert.match(await page.getByRole('status').innerText(), /Ended/);
    assert.equal(await change(page).count(), 0);
    await world.refused(world.ask('alice'), 400, 'consent_required');
  });

  test('shows who acted as the user, to filter and to keep', async () => {
    const page = await signedIn('alice', { acceptDownloads: true });
    await page.getByRole('link', { name: 'Activity' }).click();
    assert.equal(await heading(page).innerText(), 'Who acted as you');
    const lines = await page.locator('.event').allInnerTexts();
    const all = lines.join('\n');
    for (const said of [
      'You allowed Pocket Companion to act for you at Health records.',
      'You paused Pocket Companion',
      'You ended what Pocket Companion may do',
      'Pocket Companion got a pass at Health records to act for you.',
      'You had paused it.',
      'You had taken it back.',
      'You signed in.',
    ]) {
      assert.ok(all.replace(/[\u2068\u2069]/g, '').includes(said), `it is not said that "${said}":\n${all}`);
    }
    await page.getByText('As a table').click();
    assert.equal(await page.locator('tbody tr').count(), 14);
    const today = await page.locator('tbody tr').last().getByRole('cell').allInnerTexts();
    assert.equal(today[0], '5', 'passes of today');
    await world.browser.look(page, 'account-events');

    await page.getByRole('combobox', { name: 'App' }).selectOption({ label: 'Pocket Companion' });
    await page.getByRole('textbox', { name: 'To', exact: true }).fill('2020-01-01');
    await button(page, 'Show').click();
    assert.match(await page.locator('main').innerText(), /Nothing is recorded that fits this filter/);

    await page.goto(`${world.procura.issuer}/account/events`);
    for (const [name, rows] of [
      ['JSON Lines', (text) => text.trim().split('\n').map((line) => JSON.parse(line))],
      ['CSV', (text) => text.trim().split('\r\n').slice(1)],
    ]) {
      const download = page.waitForEvent('download');
      await page.getByRole('link', { name }).click();
      const text = await new Response(await (await download).createReadStream()).text();
      assert.ok(rows(text).length >= 12, `${name}: ${text}`);
      assert.ok(text.includes('consent_paused') && !text.includes('bob'), text);
    }
  });

  test('is left by signing out, which asks first', async () => {
    const page = await signedIn('carol');
    await page.getByRole('link', { name: 'Sign out' }).click();
    assert.equal(await heading(page).innerText(), 'Sign out?');
    await world.browser.look(page, 'sign-out');
    await button(page, 'Sign out').click();
    // The provider asks as well.
    await page.getByRole('button', { name: /yes/i }).click();
    await page.waitForURL(`${world.procura.issuer}/logged-out`);
    assert.equal(await heading(page).innerText(), 'You are signed out');
    await world.browser.look(page, 'signed-out');
    await page.goto(`${world.procura.issuer}/account`);
    await page.locator('input[name=password]').waitFor();
  });

  test('is each user’s own, and works on a phone without script', async () => {
    const page = await signedIn('bob', { viewport: PHONE, script: false });
    assert.ok(!(await page.locator('main').innerText()).includes('Pocket Companion'));
    await page.goto(`${world.procura.issuer}/`);
    assert.equal(page.url(), `${world.procura.issuer}/account`, 'whoever types the name of the server');
    await page.goto(`${world.procura.issuer}/account/events`);
    assert.ok(!(await page.locator('main').innerText()).includes('Pocket Companion'));
    const [{ id }] = await world.procura.json('consent', 'list', '--user', 'corp|alice', '--all');
    const response = await page.goto(`${world.procura.issuer}/account/agreements/${id}`);
    assert.equal(response.status(), 404);
  });
});
