// The page that tells a token in words, in a real browser, with and without script. It is on the private listener.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeJwt } from 'jose';
import { PHONE } from '../world/browser.mjs';
import { eventually } from '../world/processes.mjs';
import { withPages } from '../world/pages_world.mjs';

withPages(
  'the page that tells a token',
  (world) => {
    const opened = async (options) => {
      const page = await world.browser.page(options);
      await page.goto(`${world.procura.admin}/inspect`);
      return page;
    };
    const ask = async (page, token, backend) => {
      await page.getByRole('textbox', { name: 'Token' }).fill(token);
      if (backend) await page.getByRole('combobox', { name: 'Shown to the backend' }).selectOption({ label: backend });
      await page.getByRole('button', { name: 'Look at it' }).click();
      await page.getByRole('heading', { name: 'Every check' }).waitFor();
      return page.locator('main').innerText();
    };
    const token = async () => (await world.ask('alice', { client: 'assistant' })).access_token;

    test('says who acts for whom, and that nothing is wrong', async () => {
      const page = await opened();
      await world.browser.look(page, 'inspect');
      const good = await token();
      const text = await ask(page, good, 'Health records');
      for (const said of [
        'Acme Assistant, acting for Alice Adams, may see your appointments at Health records, ',
        'A verifier would accept this token.',
        `procura who ${decodeJwt(good).jti}`,
      ]) {
        assert.ok(text.includes(said), `the page does not say "${said}":\n${text}`);
      }
      assert.equal(await page.getByText('To do:').count(), 0, text);
      assert.equal(page.url(), `${world.procura.admin}/inspect`, 'nothing of it is in the address');
      assert.equal(await page.getByRole('textbox', { name: 'Token' }).inputValue(), '', 'it is not shown again');
      await world.browser.look(page, 'inspect-good');
    });

    test('says what to do about each check that fails, on a phone without script', async () => {
      const page = await opened({ viewport: PHONE, script: false });
      const [head, , tail] = (await token()).split('.');
      const claims = { ...decodeJwt(await token()), sub: 'corp|bob', exp: 1_700_000_000 };
      const forged = [head, Buffer.from(JSON.stringify(claims)).toString('base64url'), tail].join('.');
      const text = await ask(page, forged, 'Health records');
      for (const said of ['It says, and nothing proves it: ', 'signature, exp', 'Somebody changed it', 'It is over']) {
        assert.ok(text.includes(said), `the page does not say "${said}":\n${text}`);
      }
      const again = await opened();
      await ask(again, forged, 'Health records');
      await world.browser.look(again, 'inspect-forged');
    });

    test("knows a provider's ID token, and a token that was taken back", async () => {
      const page = await opened();
      const idToken = await world.idp.signIn('alice');
      const text = await ask(page, idToken);
      assert.match(text, /An ID token of the identity provider Example Corp .* for no backend\./);
      assert.match(text, /Exchange it at the token endpoint/);
      await world.browser.look(page, 'inspect-id-token');

      const good = await token();
      await world.procura.cli('user', 'suspend', 'corp|alice');
      const taken = await eventually(
        async () => {
          const said = await ask(page, good, 'Health records');
          return said.includes('its user is suspended') && said;
        },
        { what: 'the server to learn of it', seconds: 5 },
      );
      assert.match(taken, /This token counts no more/);
      assert.match(taken, /procura user resume 'corp\|alice'/);
      await world.browser.look(page, 'inspect-taken-back');
    });
  },
  { only: 'sqlite' },
);
