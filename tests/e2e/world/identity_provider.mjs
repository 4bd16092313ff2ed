// The users' identity provider: oidc-provider, with a sign-in page of its own.
//
// ID tokens are obtained as an LLM app obtains them: authorization code flow with PKCE, by openid-client.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import * as openid from 'openid-client';
import { FetchBrowser } from './fetch_browser.mjs';
import { quietly } from './quiet.mjs';

const { Provider } = await quietly(() => import('oidc-provider'));

const numbered = (prefix, count) => Array.from({ length: count }, (_, number) => `${prefix}-${String(number).padStart(5, '0')}`);

/** Who can sign in. Carol has no role at all, Dora as many roles and groups as go into a token. */
export const USERS = {
  alice: { password: 'alice-pw', name: 'Alice Adams', email: 'alice@example.com', roles: ['doctor'] },
  bob: { password: 'bob-pw', name: 'Bob Brown', email: 'bob@example.com', roles: ['patient'] },
  carol: { password: 'carol-pw', name: 'Carol Clark', email: 'carol@example.com', roles: [] },
  dora: {
    password: 'dora-pw',
    name: 'Dora Dean',
    email: `${'d'.repeat(64)}@${'example.'.repeat(20)}com`,
    roles: numbered('ward', 100),
    groups: numbered('team', 100),
  },
};

/**
 * The applications known to the provider, each with the algorithm of its ID tokens. `unrelated-app` is no LLM app. What
 * `brief-app` gets is good for a few seconds, and so is what it is exchanged for.
 */
export const APPS = { 'assistant-app': 'RS256', 'agent-app': 'ES256', 'unrelated-app': 'RS256', 'brief-app': 'RS256' };

const REDIRECT_URI = 'https://app.example.com/callback';
const appSecret = (app) => `${app}-secret-of-at-least-32-characters`;

export class IdentityProvider {
  #server;
  #provider;
  #keys;
  #more = [];

  static async start() {
    const idp = new IdentityProvider();
    idp.#server = createServer((request, response) => idp.#answer(request, response));
    idp.#server.listen(0, '127.0.0.1');
    await once(idp.#server, 'listening');
    idp.issuer = `http://127.0.0.1:${idp.#server.address().port}`;
    await idp.rotateKeys();
    return idp;
  }

  async stop() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** Signs with new keys from now on; the old ones are published no more. */
  async rotateKeys() {
    this.#keys = await Promise.all(['RS256', 'ES256'].map(signingKey));
    await this.#configure();
  }

  /** Registers one more application, by its metadata. Who was signed in has to sign in again. */
  async register(client) {
    this.#more.push(client);
    await this.#configure();
  }

  async #configure() {
    this.#provider = await quietly(() => new Provider(this.issuer, configuration(this.#keys, this.#more)));
  }

  /** A user signs in to an application. Resolves with the ID token that the application gets. */
  async signIn(user, app = 'assistant-app') {
    const config = await openid.discovery(
      new URL(this.issuer),
      app,
      { id_token_signed_response_alg: APPS[app] },
      openid.ClientSecretBasic(appSecret(app)),
      { execute: [openid.allowInsecureRequests] },
    );
    const pkceCodeVerifier = openid.randomPKCECodeVerifier();
    const expectedState = openid.randomState();
    const expectedNonce = openid.randomNonce();
    const url = openid.buildAuthorizationUrl(config, {
      redirect_uri: REDIRECT_URI,
      scope: 'openid profile email roles',
      code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
      state: expectedState,
      nonce: expectedNonce,
    });
    const until = (at) => at.href.startsWith(REDIRECT_URI);
    const browser = new FetchBrowser();
    const page = await browser.open(url, { until });
    const filled = { user, password: USERS[user].password };
    const callback = await browser.submit(page, page.forms[0], { filled, until });
    const tokens = await openid.authorizationCodeGrant(config, callback, {
      pkceCodeVerifier,
      expectedState,
      expectedNonce,
      idTokenExpected: true,
    });
    return tokens.id_token;
  }

  async #answer(request, response) {
    const { pathname } = new URL(request.url, this.issuer);
    if (pathname.startsWith('/interaction/')) {
      try {
        await this.#interact(request, response);
      } catch (error) {
        response.writeHead(400, { 'content-type': 'text/plain' }).end(String(error));
      }
    } else {
      this.#provider.callback()(request, response);
    }
  }

  /** The sign-in page. Who has signed in agrees to what the application asks: that is not what is tested here. */
  async #interact(request, response) {
    const details = await this.#provider.interactionDetails(request, response);
    if (details.prompt.name === 'consent') {
      const grant = new this.#provider.Grant({
        accountId: details.session.accountId,
        clientId: details.params.client_id,
      });
      grant.addOIDCScope(details.params.scope);
      const consent = { grantId: await grant.save() };
      return this.#provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
    }
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'text/html' });
      return response.end('<form method="post"><input name="user"><input name="password" type="password"><button>Sign in</button></form>');
    }
    let body = '';
    for await (const chunk of request) body += chunk;
    const form = new URLSearchParams(body);
    const user = form.get('user');
    if (USERS[user]?.password !== form.get('password')) throw new Error('wrong user or password');
    const login = { accountId: user, amr: ['pwd'] };
    return this.#provider.interactionFinished(request, response, { login }, { mergeWithLastSubmission: false });
  }
}

const idTokenLifetime = (_context, _token, client) => (client.clientId === 'brief-app' ? 5 : 3600);

async function signingKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: crypto.randomUUID() };
}

function configuration(keys, more) {
  return {
    jwks: { keys },
    cookies: { keys: [crypto.randomUUID()] },
    clients: Object.entries(APPS)
      .map(([client_id, id_token_signed_response_alg]) => ({
        client_id,
        client_secret: appSecret(client_id),
        redirect_uris: [REDIRECT_URI],
        id_token_signed_response_alg,
      }))
      .concat(more),
    scopes: ['openid', 'profile', 'email', 'roles'],
    claims: { openid: ['sub', 'amr'], profile: ['name'], email: ['email'], roles: ['roles', 'groups'] },
    // Roles and e-mail in the ID token itself, as providers of organisations do it.
    conformIdTokenClaims: false,
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (context, form) => {
          context.body = `${form}<button form="op.logoutForm" name="logout" value="yes">Yes, sign me out</button>`;
        },
      },
    },
    // Its own refuses loopback, where everything is here.
    fetch: (url, { dispatcher: _, ...options }) => fetch(url, options),
    interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
    ttl: { IdToken: idTokenLifetime, Interaction: 600, Session: 3600, Grant: 3600, AccessToken: 3600, AuthorizationCode: 60 },
    findAccount: (_context, sub) =>
      USERS[sub] && {
        accountId: sub,
        claims: () => {
          const { name, email, roles, groups } = USERS[sub];
          return { sub, name, email, roles, groups };
        },
      },
  };
}
