// Clients that can't be run here, by the requests that they send. The rules have the ids of the project's checklist.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeJwt } from 'jose';
import { verifier } from '../world/backend.mjs';
import { SHAPES } from '../world/client_shapes.mjs';
import { atTheFrontDoor } from '../world/front_door.mjs';
import { granted, OAuthClient, refusedWith } from '../world/oauth_client.mjs';
import { freePort } from '../world/processes.mjs';

const SCOPES = ['records.read'];

atTheFrontDoor('the requests of', (world) => {
  for (const shape of SHAPES) {
    test(`${shape.name} lead to a token for the records, and to the next one`, async () => {
      const port = await freePort();
      const redirect_uri = typeof shape.redirectUri === 'function' ? shape.redirectUri(port) : shape.redirectUri;
      const client = await known(shape, port);
      const metadata = await world.metadata();
      const resource = (wanted) => (wanted ? world.mcp : undefined);

      const code = await client.code(world.user('alice'), {
        redirect_uri,
        state: shape.state === false ? null : undefined,
        scope: shape.scope?.({ metadata, scopes: SCOPES }).join(' '),
        prompt: shape.prompt,
        resource: resource(shape.resource),
      });
      const response = await client.redeem(code, { resource: resource(shape.tokenResource) });
      const first = await good(response, shape);
      if (shape.noRefresh) return assert.equal(first.refresh_token, undefined);

      const again = await client.refresh(first.refresh_token, { resource: resource(shape.refreshResource) });
      const second = await good(again, shape);
      assert.notEqual(second.refresh_token, first.refresh_token);
      assert.equal(second.scope, first.scope);
    });
  }

  async function known({ clientId, registration, origin }, port) {
    if (!registration) return new OAuthClient(world.issuer, { client_id: clientId });
    const asked = typeof registration === 'function' ? registration(port) : registration;
    const response = await OAuthClient.register(world.issuer, asked, { origin });
    const body = await response.json();
    assert.equal(response.status, 201, JSON.stringify(body));
    assert.equal(response.headers.get('cache-control'), 'no-store');
    if (origin) assert.equal(response.headers.get('access-control-allow-origin'), '*');
    assert.deepEqual(body.redirect_uris, asked.redirect_uris);
    assert.equal(body.client_name, asked.client_name);
    assert.equal(typeof body.client_id_issued_at, 'number');
    assert.equal(body.token_endpoint_auth_method, asked.token_endpoint_auth_method ?? 'client_secret_basic');
    if (body.token_endpoint_auth_method === 'none') {
      assert.equal('client_secret' in body, false, 'RG-04: a secret makes some clients use it');
    } else {
      assert.equal(typeof body.client_secret, 'string');
      assert.equal(typeof body.client_secret_expires_at, 'number');
    }
    const supported = (asked.grant_types ?? ['authorization_code']).filter((grant) => !grant.startsWith('urn:'));
    assert.deepEqual(body.grant_types, supported, 'RG-05: other grants are left out, and said to be');
    return new OAuthClient(world.issuer, body, { origin });
  }

  async function good(response, { origin }) {
    const tokens = await granted(response);
    assert.match(response.headers.get('content-type'), /^application\/json/);
    assert.equal(response.headers.get('cache-control'), 'no-store');
    if (origin) assert.equal(response.headers.get('access-control-allow-origin'), '*');
    assert.equal(tokens.token_type, 'Bearer', 'CL-10: some compare it case-sensitively');
    assert.ok(tokens.expires_in > 300, 'CL-31: Claude refreshes up to five minutes early');
    assert.ok(tokens.scope.split(' ').includes('records.read'), tokens.scope);
    const { payload } = await verifier(world.issuer, world.mcp)(tokens.access_token);
    assert.equal(payload.sub, 'corp|alice');
    return tokens;
  }
});

atTheFrontDoor('a client that registers itself', (world) => {
  const register = async (metadata) => {
    const response = await OAuthClient.register(world.issuer, { client_name: 'A client', ...metadata });
    return { response, body: await response.json() };
  };

  test('RG-03: is told what is wrong with its redirect URIs', async () => {
    const refused = [
      'http://app.example.com/callback',
      'javascript:alert(1)//callback',
      'data:text/html,hello',
      'https://app.example.com/callback#fragment',
      'https://user:secret@app.example.com/callback',
      'https://app.example.com/*',
      'file:///tmp/callback',
    ];
    for (const uri of refused) {
      const { response, body } = await register({ redirect_uris: [uri], token_endpoint_auth_method: 'none' });
      assert.deepEqual([response.status, body.error], [400, 'invalid_redirect_uri'], uri);
    }
    assert.equal((await register({ redirect_uris: [] })).response.status, 400);
  });

  test('RG-07: as a web application may not name loopback', async () => {
    const { response, body } = await register({
      application_type: 'web',
      redirect_uris: ['http://localhost:8787/callback'],
      token_endpoint_auth_method: 'none',
    });
    assert.deepEqual([response.status, body.error], [400, 'invalid_redirect_uri']);
  });

  test('RG-01, RG-03: is answered in JSON, whatever it sends', async () => {
    for (const garbage of ['', 'not json', '[]', '"text"', '{"redirect_uris":"https://app.example.com"}']) {
      const response = await OAuthClient.register(world.issuer, garbage);
      assert.equal(response.status, 400, garbage);
      assert.match((await response.json()).error, /^invalid_(client_metadata|redirect_uri)$/);
    }
  });

  test('RG-08: gets neither exchange nor a token of its own', async () => {
    const { body } = await register({
      redirect_uris: ['https://app.example.com/callback'],
      grant_types: ['authorization_code', 'client_credentials', 'urn:ietf:params:oauth:grant-type:token-exchange'],
    });
    assert.deepEqual(body.grant_types, ['authorization_code']);
    const client = new OAuthClient(world.issuer, body);
    await refusedWith(await client.token({ grant_type: 'client_credentials' }), 400, 'unauthorized_client');
  });

  test('CM-14: has an id that is no address', async () => {
    const { body } = await register({ redirect_uris: ['https://app.example.com/callback'] });
    assert.equal(URL.canParse(body.client_id), false, body.client_id);
  });
});

atTheFrontDoor('a native client', (world) => {
  const CLAUDE_CODE = 'https://claude.ai/oauth/claude-code-client-metadata';
  const VS_CODE = 'https://vscode.dev/oauth/client-metadata.json';

  /** What the browser is shown at `/authorize` when it is not sent anywhere. */
  const page = async (client_id, redirect_uri, more) => {
    const client = new OAuthClient(world.issuer, { client_id });
    const url = client.authorizationUrl({ redirect_uri, code_challenge: 'x'.repeat(43), resource: world.mcp, ...more });
    return fetch(url, { redirect: 'manual' });
  };

  test('OA-03, NA-01, NA-06: is sent nowhere but to where it is known to be', async () => {
    const elsewhere = [
      [CLAUDE_CODE, 'http://localhost:4444/other'],
      [CLAUDE_CODE, 'http://localhost:4444/callback/'],
      [CLAUDE_CODE, 'http://localhost:4444/callback?more=1'],
      [CLAUDE_CODE, 'https://localhost:4444/callback'],
      [CLAUDE_CODE, 'http://127.0.0.2:4444/callback'],
      [CLAUDE_CODE, 'http://127.0.0.1.evil.test:4444/callback'],
      [CLAUDE_CODE, 'http://localhost.evil.test:4444/callback'],
      [CLAUDE_CODE, 'http://user@localhost:4444/callback'],
      [VS_CODE, 'http://127.0.0.1:33418'],
      [VS_CODE, 'http://localhost:33418/'],
      [VS_CODE, 'https://vscode.dev/redirect/'],
      [VS_CODE, 'https://vscode.dev:8443/redirect'],
      ['nobody', 'https://app.example.com/callback'],
    ];
    for (const [id, uri] of elsewhere) {
      const response = await page(id, uri);
      assert.equal(response.status, 400, `${id} ${uri}`);
      assert.equal(response.headers.get('location'), null);
      assert.match(response.headers.get('content-type'), /^text\/html/);
      assert.equal((await response.text()).includes('http-equiv="refresh"'), false, 'it is sent on all the same');
    }
  });

  test('NA-04: is asked about each time, whatever was allowed before', async () => {
    const client = new OAuthClient(world.issuer, { client_id: CLAUDE_CODE });
    const bob = world.user('bob');
    for (let time = 0; time < 2; time += 1) {
      const redirect_uri = `http://localhost:${await freePort()}/callback`;
      const { consent } = await client.code(bob, { redirect_uri, resource: world.mcp, scope: 'records.read' });
      assert.ok(consent, `no page was shown the ${time + 1}. time`);
    }
  });

  test('CM-12: is shown by the host of its document, not by its name alone', async () => {
    const client = new OAuthClient(world.issuer, { client_id: CLAUDE_CODE });
    const redirect_uri = `http://localhost:${await freePort()}/callback`;
    const { consent } = await client.code(world.user('alice'), { redirect_uri, resource: world.mcp });
    assert.ok(consent.text.includes('claude.ai'), consent.text);
  });

  test('PK-02, OA-08, OA-09: is sent back with the error when it asks wrongly', async () => {
    const redirect_uri = 'http://127.0.0.1:4444/callback';
    const wrong = [
      [{ code_challenge: undefined, code_challenge_method: undefined }, 'invalid_request'],
      [{ code_challenge_method: 'plain' }, 'invalid_request'],
      [{ code_challenge_method: undefined }, 'invalid_request'],
      [{ response_type: 'token' }, 'unsupported_response_type'],
      [{ resource: 'https://elsewhere.example.com/mcp' }, 'invalid_target'],
    ];
    for (const [parameters, error] of wrong) {
      const response = await page('desk', redirect_uri, { state: 'the-state', ...parameters });
      const target = await sentTo(response);
      assert.ok(target.href.startsWith(redirect_uri), target.href);
      assert.deepEqual(
        ['error', 'state', 'iss', 'code'].map((name) => target.searchParams.get(name)),
        [error, 'the-state', world.issuer, null],
      );
    }
  });

  /** Where a page sends the browser: by a redirect, or by what the page says. */
  async function sentTo(response) {
    const location = response.headers.get('location');
    if (location) return new URL(location);
    const html = await response.text();
    const [, target] = /http-equiv="refresh"[^>]*url=([^">]+)/i.exec(html) ?? assert.fail(`${response.status}: ${html}`);
    return new URL(target.replaceAll('&amp;', '&').replaceAll('&#x26;', '&').replaceAll('&#38;', '&'));
  }
});

atTheFrontDoor('tokens of a connector', (world) => {
  const redirect_uri = 'http://localhost:4444/callback';
  const client = () => new OAuthClient(world.issuer, { client_id: 'https://claude.ai/oauth/claude-code-client-metadata' });
  const connect = async (parameters) => {
    const code = await client().code(world.user('alice'), { redirect_uri, ...parameters });
    return { code, tokens: await granted(await client().redeem(code)) };
  };

  test('CL-33: keep scope and resource when a refresh names neither', async () => {
    const { tokens } = await connect({ resource: world.mcp, scope: 'records.read' });
    const next = await granted(await client().refresh(tokens.refresh_token));
    assert.equal(next.scope, 'records.read');
    assert.equal(decodeJwt(next.access_token).aud, world.mcp);
  });

  test('CL-30: come out the same for several processes that refresh at once', async () => {
    const { tokens } = await connect({ resource: world.mcp });
    const answers = await Promise.all(Array.from({ length: 5 }, () => client().refresh(tokens.refresh_token)));
    const successors = new Set();
    for (const answer of answers) successors.add((await granted(answer)).refresh_token);
    assert.equal(successors.size, 1, 'the family forked');
  });

  test('OA-11: end when their code is shown a second time', async () => {
    const { code, tokens } = await connect({ resource: world.mcp });
    await refusedWith(await client().redeem(code), 400, 'invalid_grant');
    await refusedWith(await client().refresh(tokens.refresh_token), 400, 'invalid_grant');
  });

  test('OA-12: are refused for another verifier', async () => {
    const code = await client().code(world.user('alice'), { redirect_uri, resource: world.mcp });
    const response = await client().redeem({ ...code, code_verifier: 'v'.repeat(43) });
    await refusedWith(response, 400, 'invalid_grant');
  });

  test('CL-32, RG-10: are refused by the errors that clients act upon', async () => {
    await refusedWith(await client().refresh('no-such-token'), 400, 'invalid_grant');
    const stranger = new OAuthClient(world.issuer, { client_id: 'deleted-long-ago' });
    await refusedWith(await stranger.refresh('no-such-token'), 401, 'invalid_client');
  });

  test("CL-32: are not another client's", async () => {
    const { tokens } = await connect({ resource: world.mcp });
    const desk = new OAuthClient(world.issuer, { client_id: 'desk' });
    await refusedWith(await desk.refresh(tokens.refresh_token), 400, 'invalid_grant');
  });

  test('CL-34: are got with an empty password too', async () => {
    const code = await client().code(world.user('alice'), { redirect_uri, resource: world.mcp });
    const basic = new OAuthClient(world.issuer, {
      client_id: client().id,
      client_secret: '',
      token_endpoint_auth_method: 'client_secret_basic',
    });
    await granted(await basic.redeem(code));
  });

  test('CL-06, RI-04: come without scope and resource, when there is one resource', async () => {
    const desk = new OAuthClient(world.issuer, { client_id: 'desk' });
    const code = await desk.code(world.user('alice'), { redirect_uri: 'http://127.0.0.1:4445/callback', state: null });
    const tokens = await granted(await desk.redeem(code));
    assert.equal(decodeJwt(tokens.access_token).aud, world.mcp);
  });

  test('CL-04: are not given for garbage, and the answer is JSON', async () => {
    for (const [type, body] of [
      ['application/json', '{"grant_type":"refresh_token"}'],
      ['application/x-www-form-urlencoded', '%%%=&&&'],
      ['application/x-www-form-urlencoded', ''],
      ['text/plain', 'hello'],
    ]) {
      const headers = { 'content-type': type };
      const response = await fetch(`${world.issuer}/token`, { method: 'POST', headers, body });
      assert.equal(response.status, 400, `${type} ${body}`);
      assert.equal(typeof (await response.json()).error, 'string');
    }
  });
});

atTheFrontDoor('what is published', (world) => {
  test('CL-01: makes clients choose the short way', async () => {
    for (const name of ['oauth-authorization-server', 'openid-configuration']) {
      const response = await fetch(`${world.issuer}/.well-known/${name}`, {
        headers: { 'mcp-protocol-version': '2026-07-28' },
      });
      assert.equal(response.status, 200);
      assert.match(response.headers.get('content-type'), /^application\/json/);
      const metadata = await response.json();
      assert.equal(metadata.issuer, world.issuer);
      assert.equal(metadata.client_id_metadata_document_supported, true);
      assert.equal(metadata.authorization_response_iss_parameter_supported, true);
      for (const method of ['none', 'private_key_jwt']) {
        assert.ok(metadata.token_endpoint_auth_methods_supported.includes(method), method);
      }
      assert.deepEqual(metadata.code_challenge_methods_supported, ['S256']);
      assert.deepEqual(metadata.response_types_supported, ['code']);
      for (const scope of ['offline_access', 'records.read']) assert.ok(metadata.scopes_supported.includes(scope), scope);
      for (const [endpoint, path] of Object.entries({ authorization: 'authorize', token: 'token', registration: 'register' })) {
        assert.equal(metadata[`${endpoint}_endpoint`], `${world.issuer}/${path}`);
      }
    }
  });

  test('can be read by a client in a browser', async () => {
    const origin = 'http://localhost:6274';
    for (const [path, method, headers] of [
      ['/.well-known/oauth-authorization-server', 'GET', 'mcp-protocol-version'],
      ['/.well-known/openid-configuration', 'GET', 'mcp-protocol-version'],
      ['/.well-known/jwks.json', 'GET', 'mcp-protocol-version'],
      ['/register', 'POST', 'content-type'],
      ['/token', 'POST', 'authorization,content-type,mcp-protocol-version'],
    ]) {
      const response = await fetch(world.issuer + path, {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': headers },
      });
      assert.ok([200, 204].includes(response.status), `${path}: ${response.status}`);
      assert.equal(response.headers.get('access-control-allow-origin'), '*', path);
      assert.equal(response.headers.get('access-control-allow-credentials'), null, path);
      const allowed = response.headers.get('access-control-allow-headers').toLowerCase();
      for (const header of headers.split(',')) assert.ok(allowed.includes(header), `${path} does not allow ${header}`);
    }
    const authorize = await fetch(`${world.issuer}/authorize`, { headers: { origin }, redirect: 'manual' });
    assert.equal(authorize.headers.get('access-control-allow-origin'), null, 'OA-06: pages are for people');
  });

  test('DI-09, DI-10: has a document that the MCP server can serve as its own', async () => {
    const document = await (await fetch(`${world.issuer}/.well-known/oauth-protected-resource/records`)).json();
    assert.equal(document.resource, world.mcp);
    assert.deepEqual(document.authorization_servers, [world.issuer]);
    assert.deepEqual(document.bearer_methods_supported, ['header']);
    assert.ok(document.scopes_supported.includes('records.read'));
    assert.equal(document.scopes_supported.includes('offline_access'), false, 'MC-13: that is for the authorization server');
  });
});
