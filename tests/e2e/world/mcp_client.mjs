// An LLM client as people build it: the SDK's own client and transport, and a place where it keeps what it is given.
//
// Nothing of the SDKs is changed. What a host adds is here: opening the authorization URL, and catching the redirect.

import assert from 'node:assert/strict';
import * as second from '@modelcontextprotocol/client';
import { Client as FirstClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as FirstTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { UnauthorizedError as FirstUnauthorized } from '@modelcontextprotocol/sdk/client/auth.js';
import { ElicitRequestSchema, UrlElicitationRequiredError } from '@modelcontextprotocol/sdk/types.js';

/** The two generations of the TypeScript SDK, where they differ for a host. */
export const SDKS = {
  '@modelcontextprotocol/sdk': {
    Client: FirstClient,
    Transport: FirstTransport,
    Unauthorized: FirstUnauthorized,
    UrlElicitationRequired: UrlElicitationRequiredError,
    options: {},
    elicitation: ElicitRequestSchema,
    callback: (params) => params.get('code'),
  },
  '@modelcontextprotocol/client': {
    Client: second.Client,
    Transport: second.StreamableHTTPClientTransport,
    Unauthorized: second.UnauthorizedError,
    UrlElicitationRequired: second.UrlElicitationRequiredError,
    options: { versionNegotiation: { mode: 'auto' } },
    elicitation: 'elicitation/create',
    callback: (params) => params,
  },
};

/** Keeps registration, tokens and verifier, as OAuthClientProvider wants it. */
class Keeper {
  constructor({ redirectUri, clientId, issuer, clientMetadataUrl, metadata }) {
    this.redirectUrl = redirectUri;
    this.clientMetadata = {
      client_name: 'Test Client',
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      ...metadata,
    };
    if (clientMetadataUrl) this.clientMetadataUrl = clientMetadataUrl;
    if (clientId) this.client = { client_id: clientId, issuer };
  }

  clientInformation = () => this.client;
  saveClientInformation = (client) => void (this.client = client);
  tokens = () => this.saved;
  saveTokens = (tokens) => void (this.saved = tokens);
  state = () => (this.stated = crypto.randomUUID());
  redirectToAuthorization = (url) => void (this.authorizationUrl = url);
  saveCodeVerifier = (verifier) => void (this.verifier = verifier);
  codeVerifier = () => this.verifier;
  saveDiscoveryState = (state) => void (this.discovered = state);
  discoveryState = () => this.discovered;
}

export class McpClient {
  #sdk;
  #url;
  #client;

  /** Every request of the SDK to the authorization server's endpoints, as `[path, parameters]`. */
  sent = [];

  constructor(sdk, url, registration) {
    this.#sdk = SDKS[sdk];
    this.#url = new URL(url);
    this.keeper = new Keeper(registration);
  }

  /** Called with each URL that the server wants opened; resolves when the user is through. */
  onElicitation = () => assert.fail('the server asked for something');

  /** Called before each request. */
  onRequest = () => {};

  /** Connects, which first sends the user off to sign in and agree. Resolves with the consent page they saw, if any. */
  async connect(user, choices) {
    const { Unauthorized, callback } = this.#sdk;
    const transport = this.#transport();
    await assert.rejects(this.#start(transport), Unauthorized);
    const { redirectUrl, stated, authorizationUrl } = this.keeper;
    const { params, consent } = await user.authorize(authorizationUrl, redirectUrl, choices);
    assert.equal(params.get('error'), null, `${params}`);
    assert.equal(params.get('state'), stated);
    await transport.finishAuth(callback(params));
    await this.#start(this.#transport());
    return consent;
  }

  /** Calls a tool. Resolves with its result, or throws what the SDK throws. */
  call(name, args = {}) {
    return this.#client.callTool({ name, arguments: args });
  }

  get UrlElicitationRequired() {
    return this.#sdk.UrlElicitationRequired;
  }

  get era() {
    return this.#client.getProtocolEra?.() ?? 'legacy';
  }

  async close() {
    await this.#client?.close();
  }

  async #start(transport) {
    const { Client, options, elicitation } = this.#sdk;
    const capabilities = { elicitation: { form: {}, url: {} } };
    this.#client = new Client({ name: 'test-client', version: '1.0.0' }, { capabilities, ...options });
    this.#client.setRequestHandler(elicitation, async ({ params }) => {
      assert.equal(params.mode, 'url');
      await this.onElicitation(params.url);
      return { action: 'accept' };
    });
    await this.#client.connect(transport);
  }

  #transport() {
    return new this.#sdk.Transport(this.#url, {
      authProvider: this.keeper,
      fetch: (url, init) => {
        const { pathname } = new URL(url);
        const parameters = init?.body instanceof URLSearchParams ? Object.fromEntries(init.body) : {};
        if (pathname !== this.#url.pathname) this.sent.push([pathname, parameters]);
        this.onRequest(pathname, parameters);
        return fetch(url, init);
      },
    });
  }
}
