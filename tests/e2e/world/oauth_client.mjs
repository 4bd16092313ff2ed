// A client that sends what it is told to send, and nothing else. For requests of clients that are not here themselves.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';

const FORM = 'application/x-www-form-urlencoded';

/** A verifier and its challenge (RFC 7636). */
export function pkce() {
  const verifier = randomBytes(32).toString('base64url');
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') };
}

export class OAuthClient {
  constructor(issuer, { client_id, client_secret, token_endpoint_auth_method = 'none' }, { origin } = {}) {
    Object.assign(this, { issuer, id: client_id, secret: client_secret, method: token_endpoint_auth_method, origin });
  }

  static register(issuer, metadata, { origin } = {}) {
    return fetch(`${issuer}/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(origin && { origin }) },
      body: typeof metadata === 'string' ? metadata : JSON.stringify(metadata),
    });
  }

  /** The URL that the client opens, with its parameters; `undefined` leaves one out. */
  authorizationUrl(parameters) {
    const url = new URL(`${this.issuer}/authorize`);
    const all = { response_type: 'code', client_id: this.id, code_challenge_method: 'S256', ...parameters };
    for (const [name, value] of Object.entries(all)) if (value !== undefined) url.searchParams.set(name, value);
    return url;
  }

  /**
   * The way from the link to the code. Resolves with the code, its verifier, and the consent page. `user` is whose
   * browser it is.
   */
  async code(user, { redirect_uri, state = crypto.randomUUID(), ...parameters }, choices) {
    const { verifier, challenge } = pkce();
    const link = this.authorizationUrl({
      redirect_uri,
      state: state || undefined,
      code_challenge: challenge,
      ...parameters,
    });
    const { url, params, consent } = await user.authorize(link, redirect_uri, choices);
    assert.equal(params.get('error'), null, `${url}`);
    for (const name of ['code', 'iss']) assert.equal(params.getAll(name).length, 1, `${name} in ${url}`);
    assert.equal(params.get('iss'), this.issuer);
    assert.equal(params.get('state'), state || null);
    return { code: params.get('code'), code_verifier: verifier, redirect_uri, consent };
  }

  /** A token request as it goes over the wire. */
  token(parameters) {
    const form = new URLSearchParams();
    const all = { ...parameters };
    const headers = { 'content-type': FORM, ...(this.origin && { origin: this.origin }) };
    if (this.method === 'client_secret_basic') {
      const pair = [this.id, this.secret].map(encodeURIComponent).join(':');
      headers.authorization = `Basic ${Buffer.from(pair).toString('base64')}`;
    } else {
      all.client_id = this.id;
      if (this.method === 'client_secret_post') all.client_secret = this.secret;
    }
    for (const [name, value] of Object.entries(all)) if (value !== undefined) form.set(name, value);
    return fetch(`${this.issuer}/token`, { method: 'POST', headers, body: form });
  }

  redeem({ code, code_verifier, redirect_uri }, more) {
    return this.token({ grant_type: 'authorization_code', code, code_verifier, redirect_uri, ...more });
  }

  refresh(refresh_token, more) {
    return this.token({ grant_type: 'refresh_token', refresh_token, ...more });
  }
}

/** Expects an OAuth error of the token or registration endpoint. */
export async function refusedWith(response, status, error) {
  const body = await response.json();
  assert.deepEqual({ status: response.status, error: body.error }, { status, error }, JSON.stringify(body));
  assert.match(response.headers.get('content-type'), /^application\/json/);
  return body;
}

/** Expects tokens. */
export async function granted(response) {
  const body = await response.json();
  assert.equal(response.status, 200, JSON.stringify(body));
  return body;
}
