// `procura demo` in a browser: an app that nobody registered asks, Alice signs in and allows it, and it gets her rows.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Browser } from '../world/browser.mjs';
import { Service } from '../world/processes.mjs';
import { BINARY } from '../world/procura.mjs';

describe('the demo', () => {
  let demo;
  let browser;

  before(async () => {
    const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PROCURA_')));
    demo = new Service(BINARY, ['demo'], { env: environment });
    browser = await Browser.start();
    await demo.ready(async () => demo.output.includes('Ctrl-C ends it'));
  });
  after(async () => {
    await browser?.stop();
    await demo?.stop('SIGINT');
  });

  test('lets an app in that nobody registered, once Alice allowed it', async () => {
    const [, desk] = /Let Desk[^\n]*\n\s*(http:\S+)/.exec(demo.output) ?? assert.fail(demo.output);
    const page = await browser.page();
    await page.goto(desk);
    await browser.look(page, 'demo-desk');
    await page.getByRole('link', { name: 'Connect Desk' }).click();
    await browser.look(page, 'demo-connect');
    await page.getByRole('button', { name: 'Continue' }).click();
    await browser.look(page, 'demo-provider');
    await page.getByRole('button', { name: 'I am Alice' }).click();
    await page.getByRole('heading', { name: /act for you/ }).waitFor();
    await browser.look(page, 'demo-consent');
    await page.getByRole('button', { name: 'Allow' }).click();
    await page.getByText('gave Desk 3 rows').waitFor();
    assert.equal(await page.getByText('alice:').count(), 3);
    await browser.look(page, 'demo-rows');
    await page.getByRole('link', { name: 'See and end' }).click();
    await page.getByText('Health records').first().waitFor();
    await browser.look(page, 'demo-account');

    const [, question] = /What Alice is asked[^\n]*\n\s*(http:\S+)/.exec(demo.output) ?? assert.fail(demo.output);
    await page.goto(question);
    assert.match(await page.locator('main').innerText(), /Book and cancel appointments for you/);
    await browser.look(page, 'demo-question');
    await page.getByRole('button', { name: 'Allow' }).click();
    await page.getByRole('heading', { name: 'Done' }).waitFor();
  });
});
