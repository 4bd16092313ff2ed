// A world for the pages: people sign in at the provider in a real browser, and one client asks for what there is to ask.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as openid from 'openid-client';
import { Browser } from './browser.mjs';
import { USERS } from './identity_provider.mjs';
import { RECORDS } from './registry.mjs';
import { onEachDatabase, World } from './world.mjs';

const LOGIN_SECRET = 'the-secret-of-procura-at-the-identity-provider';

const LOGO = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#1c6b4a"/>
<path d="M9 17l5 5 9-11" fill="none" stroke="#fff" stroke-width="3.5" stroke-linecap="round" stroke-linejoin="round"/></svg>`;

/** Defines the tests once for each database, with a browser. */
export function withPages(title, define, { only } = {}) {
  onEachDatabase(title, define, { only, make: (database) => new PagesWorld(database) });
}

export class PagesWorld extends World {
  confidential = ['assistant', 'companion'];
  settings = (folder) => ({
    more: `
[organisation]
name = "Example Corp"
logo_file = "${join(folder, 'logo.svg')}"
support_url = "https://help.example.com"
`,
    secrets: { CORP_SECRET: LOGIN_SECRET },
  });
  registry = ({ idp }) => registry(idp);

  prepare = (folder) => writeFile(join(folder, 'logo.svg'), LOGO);

  async start() {
    await super.start();
    const { issuer } = this.procura;
    await this.idp.register({
      client_id: 'procura',
      client_secret: LOGIN_SECRET,
      redirect_uris: [`${issuer}/callback/corp`],
      post_logout_redirect_uris: [`${issuer}/logged-out`],
    });
    this.browser = await Browser.start();
  }

  async stop() {
    await this.browser?.stop();
    await super.stop();
  }

  /** The exchange of a client for a user: the tokens, or the refusal. */
  async ask(user, { client = 'companion', scope } = {}) {
    this.idTokens ??= {};
    this.idTokens[user] ??= await this.idp.signIn(user);
    return this.exchange(client, this.idTokens[user], scope ? { scope } : {});
  }

  /** Where a user can agree to it. */
  async consentUri(user, wish) {
    const { body } = await this.refused(this.ask(user, wish), 400, 'consent_required');
    return body.consent_uri;
  }

  /** Where a browser begins when a client wants a code. */
  async authorization(client, redirect_uri, parameters = {}) {
    const options = { execute: [openid.allowInsecureRequests] };
    const config = await openid.discovery(new URL(this.procura.issuer), client, undefined, openid.None(), options);
    return openid.buildAuthorizationUrl(config, {
      redirect_uri,
      resource: RECORDS,
      state: openid.randomState(),
      code_challenge: await openid.calculatePKCECodeChallenge(openid.randomPKCECodeVerifier()),
      code_challenge_method: 'S256',
      ...parameters,
    }).href;
  }

  /** What the client that waits hears. */
  async status(consentUri) {
    const response = await fetch(`${consentUri}/status`);
    return (await response.json()).status;
  }

  /** Signs in at the provider, where the page is by now. */
  async signIn(page, user) {
    await page.locator('input[name=user]').fill(user);
    await page.locator('input[name=password]').fill(USERS[user].password);
    await page.locator('input[name=password]').press('Enter');
  }
}

const registry = (idp) => `
[[identity_provider]]
id = "corp"
issuer = "${idp}"
name = "Example Corp"
algorithms = ["RS256", "ES256"]
subject_prefix = "corp|"
allow_private_addresses = true
claims = { roles = "/roles", email = "/email", name = "/name" }
login = { client_id = "procura", client_secret_env = "CORP_SECRET", scopes = ["openid", "profile", "email", "roles"] }
[[identity_provider.subject_token]]
type = "id_token"
audiences = ["assistant-app"]
clients = ["assistant", "companion"]

[[resource]]
id = "records"
audience = "${RECORDS}"
name = "Health records"
open_to = ["domain", "self_asserted"]
[[resource.scope]]
name = "records.read"
description = "See your health records"
access = "read"
[[resource.scope]]
name = "appointments.read"
description = "See your appointments"
access = "read"
[[resource.scope]]
name = "appointments.write"
description = "Book and move your appointments"
access = "write"
[[resource.scope]]
name = "records.delete"
description = "Delete a health record"
access = "destructive"
[[resource.scope]]
name = "billing.read"
description = "See your bills"
access = "read"

[[client]]
id = "companion"
name = "Pocket Companion"
authentication = "client_secret_post"
grants = ["token_exchange"]
[client.resources]
records = ["records.read", "appointments.read", "appointments.write", "records.delete"]

[[client]]
id = "assistant"
name = "Acme Assistant"
authentication = "client_secret_basic"
grants = ["token_exchange"]
consent = "admin"
[client.resources]
records = ["appointments.read"]

[[client]]
id = "connector"
name = "Desk Connector"
authentication = "none"
grants = ["authorization_code"]
redirect_uris = ["https://client.example.invalid/callback", "http://localhost/callback", "http://127.0.0.1/on", "cursor://anysphere.cursor-mcp/oauth/callback"]
[client.resources]
records = ["records.read"]
`;
