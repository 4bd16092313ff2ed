// What a user does on the way from an LLM client to its token: goes on, signs in, reads who asks for what, allows it.

import assert from 'node:assert/strict';
import { FetchBrowser } from './fetch_browser.mjs';
import { USERS } from './identity_provider.mjs';

const LIMIT = 12;

export class User {
  constructor(name) {
    this.name = name;
    this.browser = new FetchBrowser();
  }

  /**
   * Opens a link that a client shows, and does what each page asks for, until the browser is at `redirectUri`. Resolves
   * with that URL and with the consent page, if one was shown. `tick` names what is ticked besides what the page
   * proposes; `deny` presses the other button.
   */
  async authorize(link, redirectUri, choices = {}) {
    const until = (url) => url.href.split(/[?#]/)[0] === redirectUri;
    const { at, consent } = await this.#walk(link, { until, ...choices });
    assert.ok(at instanceof URL, `${this.name} ended at ${at.url} (${at.status}): ${at.text}`);
    return { url: at, params: at.searchParams, consent };
  }

  /** Opens a link and does what is asked until nothing more is. Resolves with the last page. */
  async follow(link, choices = {}) {
    return (await this.#walk(link, choices)).at;
  }

  async #walk(link, { until, deny = false, filled } = {}) {
    let at = await this.browser.open(link, { until });
    let consent;
    for (let pages = 0; !(at instanceof URL); pages += 1) {
      assert.ok(pages < LIMIT, `${this.name} is sent in circles:\n${this.browser.trail.join('\n')}`);
      const signIn = at.forms.find((form) => form.has('password'));
      const buttons = at.forms.flatMap((form) => form.buttons);
      if (signIn) {
        const account = { user: this.name, password: USERS[this.name].password };
        at = await this.browser.submit(at, signIn, { filled: account, until });
      } else if (buttons.some(({ text }) => ALLOW.test(text))) {
        assert.ok(!consent, `${this.name} is asked twice:\n${this.browser.trail.join('\n')}`);
        consent = at;
        at = await this.browser.press(at, deny ? DENY : ALLOW, { filled, until });
      } else if (buttons.some(({ text }) => GO_ON.test(text)) || at.links.some(({ text }) => GO_ON.test(text))) {
        at = await this.browser.press(at, GO_ON, { until });
      } else {
        break;
      }
    }
    return { at, consent };
  }
}

const ALLOW = /^allow\b/i;
const DENY = /^(deny|don.t allow)\b/i;
const GO_ON = /^(continue|sign in|go on)\b/i;
