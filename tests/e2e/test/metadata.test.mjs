// What clients read before they send anything: metadata, and whether a browser may read it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atTheFrontDoor } from '../world/front_door.mjs';

atTheFrontDoor(
  'what is published',
  (world) => {
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
        for (const scope of ['offline_access', 'records.read'])
          assert.ok(metadata.scopes_supported.includes(scope), scope);
        for (const [endpoint, path] of Object.entries({
          authorization: 'authorize',
          token: 'token',
          registration: 'register',
        })) {
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
        for (const header of headers.split(','))
          assert.ok(allowed.includes(header), `${path} does not allow ${header}`);
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
      assert.equal(
        document.scopes_supported.includes('offline_access'),
        false,
        'MC-13: that is for the authorization server',
      );
    });
  },
  { only: 'sqlite' },
);
