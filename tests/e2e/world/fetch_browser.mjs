// A user with a browser that has no script, no screen and no pixels: it keeps cookies, follows redirects and meta
// refresh, fills in forms and presses buttons by what is written on them.
//
// For the tests in which the pages are only the way; how they look and feel is tested in a real browser.

import { request } from 'node:http';
import { text } from 'node:stream/consumers';

/** A page as far as a user can act on it. */
class Page {
  constructor(url, status, headers, html) {
    Object.assign(this, { url: new URL(url), status, headers, html });
    this.forms = [...html.matchAll(/<form\b([^>]*)>(.*?)<\/form>/gis)].map(
      ([, tag, body]) => new Form(this, attributes(tag), body),
    );
    this.links = [...html.matchAll(/<a\b([^>]*)>(.*?)<\/a>/gis)].map(([, tag, body]) => ({
      text: words(body),
      href: attributes(tag).href,
    }));
  }

  /** What is written on it, without the marks. */
  get text() {
    return words(this.html.replace(/<(head|style|script)\b.*?<\/\1>/gis, ' '));
  }

  /** Where it goes on by itself (`<meta http-equiv="refresh">`). */
  get refresh() {
    for (const [, tag] of this.html.matchAll(/<meta\b([^>]*)>/gi)) {
      const { 'http-equiv': kind, content } = attributes(tag);
      const target = /^refresh$/i.test(kind ?? '') && /^\s*\d+\s*;\s*url=['"]?(.*?)['"]?\s*$/is.exec(content)?.[1];
      if (target) return new URL(target, this.url);
    }
  }
}

class Form {
  constructor(page, { action = '', method = 'get' }, body) {
    this.action = new URL(action, page.url);
    this.method = method.toUpperCase();
    this.fields = [...body.matchAll(/<input\b([^>]*)>/gi)].map(([, tag]) => ({ type: 'text', ...attributes(tag) }));
    this.buttons = [...body.matchAll(/<button\b([^>]*)>(.*?)<\/button>/gis)].map(([, tag, label]) => ({
      ...attributes(tag),
      text: words(label),
    }));
    this.selects = [...body.matchAll(/<select\b([^>]*)>(.*?)<\/select>/gis)].map(([, tag, inner]) => {
      const options = [...inner.matchAll(/<option\b([^>]*)>/gi)].map(([, option]) => attributes(option));
      return { ...attributes(tag), value: (options.find((option) => 'selected' in option) ?? options[0])?.value ?? '' };
    });
  }

  has(name) {
    return this.fields.some((field) => field.name === name);
  }

  /** What a browser would send: the fields as they stand, or as `filled` says, and the button that was pressed. */
  values(filled = {}, button) {
    const pairs = [];
    for (const { name, type, value, ...field } of this.fields) {
      if (!name || type === 'submit' || type === 'reset' || 'disabled' in field) continue;
      if (type === 'checkbox' || type === 'radio') {
        const wish = filled[name];
        const ticked = wish === undefined ? 'checked' in field : [wish].flat().includes(value ?? 'on');
        if (ticked) pairs.push([name, value ?? 'on']);
      } else {
        pairs.push([name, filled[name] ?? value ?? '']);
      }
    }
    for (const { name, value } of this.selects) pairs.push([name, filled[name] ?? value]);
    if (button?.name) pairs.push([button.name, button.value ?? '']);
    return new URLSearchParams(pairs);
  }
}

export class FetchBrowser {
  #cookies = new Map();
  #limit = 40;

  /** Every address it was at, for the message when it gets lost. */
  trail = [];

  /**
   * Goes there, and on as long as it is sent on. Resolves with the page, or with the URL if `until` says it is enough.
   */
  async open(url, { until = () => false, ...step } = {}) {
    let next = { url: new URL(url), ...step };
    for (let hops = 0; hops < this.#limit; hops += 1) {
      if (until(next.url)) return next.url;
      if (next.url.protocol !== 'http:') throw new Error(`nothing to be seen at ${next.url}\n${this.trail.join('\n')}`);
      const page = await this.#load(next);
      const location = page.headers.location;
      const target = location ? new URL(location, page.url) : page.refresh;
      if (!target) return page;
      next = { url: target, from: location && next.from ? next.from : page.url };
      if ((page.status === 307 || page.status === 308) && step.body) Object.assign(next, { body: step.body });
    }
    throw new Error(`sent on and on:\n${this.trail.join('\n')}`);
  }

  /** Sends a form of this page, by the button whose words match. */
  async press(page, words, { filled, until } = {}) {
    for (const form of page.forms) {
      const button = form.buttons.find(({ text }) => words.test(text));
      if (button) return this.submit(page, form, { filled, button, until });
    }
    const link = page.links.find(({ text }) => words.test(text));
    if (link) return this.open(new URL(link.href, page.url), { until, from: page.url });
    throw new Error(`no button ${words} on ${page.url} (${page.status}): ${page.text}`);
  }

  submit(page, form, { filled, button, until } = {}) {
    const values = form.values(filled, button);
    const action = button?.formaction ? new URL(button.formaction, page.url) : form.action;
    if (form.method === 'POST') return this.open(action, { until, from: page.url, body: String(values) });
    action.search = values;
    return this.open(action, { until, from: page.url });
  }

  /** The cookies that it would send to this URL. */
  cookies(url) {
    return [...(this.#cookies.get(new URL(url).origin) ?? [])];
  }

  async #load({ url, from, body }) {
    this.trail.push(`${body === undefined ? 'GET' : 'POST'} ${url}`);
    const site = !from ? 'none' : from.origin === url.origin ? 'same-origin' : 'cross-site';
    const headers = {
      accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
      'accept-language': 'en',
      'user-agent': 'Mozilla/5.0 (a test)',
      'sec-fetch-site': site,
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
      'sec-fetch-user': '?1',
      'upgrade-insecure-requests': '1',
    };
    const cookie = this.cookies(url)
      .map(([name, value]) => `${name}=${value}`)
      .join('; ');
    if (cookie) headers.cookie = cookie;
    if (body !== undefined) {
      headers['content-type'] = 'application/x-www-form-urlencoded';
      headers['content-length'] = Buffer.byteLength(body);
      headers.origin = from?.origin ?? 'null';
    }
    const response = await new Promise((resolve, reject) => {
      const sent = request(url, { method: body === undefined ? 'GET' : 'POST', headers, timeout: 20_000 }, resolve);
      sent
        .on('error', reject)
        .on('timeout', () => sent.destroy(new Error(`no answer from ${url}`)))
        .end(body);
    });
    this.#keepCookies(url, response.headers['set-cookie'] ?? []);
    return new Page(url, response.statusCode, response.headers, await text(response));
  }

  #keepCookies(url, lines) {
    if (!this.#cookies.has(url.origin)) this.#cookies.set(url.origin, new Map());
    const jar = this.#cookies.get(url.origin);
    for (const line of lines) {
      const [pair, ...attributes] = line.split(';').map((part) => part.trim());
      const [name, value] = pair.split(/=(.*)/s);
      const ended = attributes.some(
        (attribute) =>
          /^max-age=(0|-\d+)$/i.test(attribute) ||
          (/^expires=/i.test(attribute) && new Date(attribute.slice(8)).getTime() <= Date.now()),
      );
      if (ended || value === '') jar.delete(name);
      else jar.set(name, value);
    }
  }
}

function attributes(tag) {
  const found = {};
  for (const [, name, quoted, single, bare] of tag.matchAll(
    /([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?/g,
  )) {
    found[name.toLowerCase()] = unescaped(quoted ?? single ?? bare ?? '');
  }
  return found;
}

const words = (html) =>
  unescaped(html.replace(/<[^>]*>/g, ' '))
    .replace(/\s+/g, ' ')
    .trim();

const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' };

function unescaped(text) {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) =>
    name ? (ENTITIES[name.toLowerCase()] ?? whole) : String.fromCodePoint(parseInt(hex ?? decimal, hex ? 16 : 10)),
  );
}
