// Chromium, and what every page must pass: it is looked at wide and narrow, in light and dark, by axe, and a picture of
// each is kept outside the tree.

import assert from 'node:assert/strict';
import { access, mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright-core';

const require = createRequire(import.meta.url);

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };

/** Where pictures are kept, for CI to keep: E2E_SCREENSHOTS, or a folder beside other temporary files. */
export const SCREENSHOTS = process.env.E2E_SCREENSHOTS ?? join(tmpdir(), 'procura-screenshots');

export class Browser {
  #chromium;
  #axe;

  static async start() {
    const browser = new Browser();
    browser.#axe = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');
    await mkdir(SCREENSHOTS, { recursive: true });
    // Chromium's own sandbox does not start as root, which is what a container is.
    const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    browser.#chromium = await chromium.launch({ executablePath: await executable(), args, headless: true });
    return browser;
  }

  stop() {
    return this.#chromium?.close();
  }

  /** A page of a new person: no cookies, nothing remembered. Closed with the browser, if not before. */
  async page({ viewport = DESKTOP, script = true, ...options } = {}) {
    const context = await this.#chromium.newContext({ viewport, javaScriptEnabled: script, ...options });
    context.setDefaultTimeout(10_000);
    return context.newPage();
  }

  /** Looks at the page in every way, and leaves it as it was. */
  async look(page, name) {
    const before = page.viewportSize();
    for (const [size, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
      await page.setViewportSize(viewport);
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        const where = `${name}, ${size}, ${colorScheme}`;
        await page.screenshot({ path: join(SCREENSHOTS, `${name}-${size}-${colorScheme}.png`), fullPage: true });
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(overflow <= 0, `${where}: the page is ${overflow} pixels wider than the window`);
        await this.#check(page, where);
      }
    }
    await page.emulateMedia({ colorScheme: null });
    await page.setViewportSize(before);
  }

  async #check(page, where) {
    await page.evaluate(this.#axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document));
    const told = violations.map(({ id, help, nodes }) => `${id}: ${help}\n  ${nodes.map(({ html }) => html).join('\n  ')}`);
    assert.deepEqual(told, [], `${where}: axe finds\n${told.join('\n')}`);
  }
}

async function executable() {
  if (process.env.CHROMIUM_BIN) return process.env.CHROMIUM_BIN;
  const folders = process.env.PATH.split(delimiter);
  for (const name of ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']) {
    for (const folder of folders) {
      const file = join(folder, name);
      if (await access(file).then(() => true, () => false)) return file;
    }
  }
  throw new Error('Chromium was not found: install it, or name it in CHROMIUM_BIN');
}
