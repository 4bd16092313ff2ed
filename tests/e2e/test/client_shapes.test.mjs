// Clients that can't be run here, by the requests that they send. Where a message has an id, such as CL-10, it is that
// of the rule in the project's checklist of standards and clients; so it is in the names of tests.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { decodeJwt } from 'jose';
import { verifier } from '../world/backend.mjs';
import { SHAPES } from '../world/client_shapes.mjs';
import { Documents } from '../world/documents.mjs';
import { atTheFrontDoor } from '../world/front_door.mjs';
import { granted, OAuthClient } from '../world/oauth_client.mjs';
import { freePort } from '../world/processes.mjs';

const SCOPES = ['records.read'];

atTheFrontDoor('the requests of', (world) => {
  let documents;

  before(async () => void (documents = await Documents.start()));
  after(() => documents.stop());

  for (const shape of SHAPES) {
    test(`${shape.name} lead to a token for the records, and to the next one`, async () => {
      const port = await freePort();
      const redirect_uri = typeof shape.redirectUri === 'function' ? shape.redirectUri(port) : shape.redirectUri;
      const client = await known(shape, port);
      const metadata = await world.metadata();
      const resource = (wanted) => (wanted ? world.mcp : undefined);

      if (shape.sendsInstead) {
        const link = client.authorizationUrl({ redirect_uri: shape.sendsInstead(port), code_challenge: 'x'.repeat(43) });
        const refused = await fetch(link, { redirect: 'manual' });
        assert.equal(refused.status, 400);
        assert.match(await refused.text(), /This app cannot be answered/);
      }
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

      const again = await client.refresh(first.refresh_token, {
        resource: resource(shape.refreshResource),
        scope: shape.refreshScope,
      });
      const second = await good(again, shape);
      assert.notEqual(second.refresh_token, first.refresh_token);
      assert.equal(second.scope, first.scope);
    });
  }

  async function known({ name, clientId, document, registration, origin }, port) {
    if (document) {
      const client_id = documents.publish(`${encodeURIComponent(name)}.json`, document);
      return new OAuthClient(world.issuer, { client_id });
    }
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
}, { settings: '[registration]\nper_minute = 0\n' });
