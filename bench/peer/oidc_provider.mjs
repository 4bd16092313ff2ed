// The peer: oidc-provider with its in-memory adapter and the same token exchange, an ID token for a JWT access token.
//
// It has no consent, no policy and no record of what it issued: what it is compared with does more. Arguments: the port,
// and a file with { issuer, audience, jwks, resource, client, secret }.

import { readFile } from 'node:fs/promises';
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose';

console.info = console.warn = () => {};
const { Provider, errors } = await import('oidc-provider');

const [port, file] = process.argv.slice(2);
const world = JSON.parse(await readFile(file, 'utf8'));
const { privateKey } = await generateKeyPair('ES256', { extractable: true });
const resourceServer = {
  scope: 'records.read',
  audience: world.resource,
  accessTokenTTL: 300,
  accessTokenFormat: 'jwt',
  jwt: { sign: { alg: 'ES256' } },
};

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: 'peer' }] },
  cookies: { keys: ['not used'] },
  clients: [
    {
      client_id: world.client,
      client_secret: world.secret,
      grant_types: ['client_credentials', 'urn:ietf:params:oauth:grant-type:token-exchange'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_basic',
      id_token_signed_response_alg: 'ES256',
    },
  ],
  scopes: ['records.read'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => world.resource,
      getResourceServerInfo: () => resourceServer,
    },
  },
  extraTokenClaims: (context, token) => (token.gty === 'token_exchange' ? { act: { sub: token.clientId } } : undefined),
  findAccount: (_context, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
});

const keys = createLocalJWKSet(world.jwks);
const parameters = ['subject_token', 'subject_token_type', 'resource', 'scope'];
provider.registerGrantType(
  'urn:ietf:params:oauth:grant-type:token-exchange',
  async (context) => {
    const { client, params } = context.oidc;
    const expected = { issuer: world.issuer, audience: world.audience, requiredClaims: ['sub', 'exp'] };
    const subject = await jwtVerify(params.subject_token, keys, expected).catch(() => {
      throw new errors.InvalidRequest('the subject token is not valid');
    });
    const token = new provider.AccessToken({
      accountId: subject.payload.sub,
      client,
      gty: 'token_exchange',
      scope: params.scope,
    });
    token.resourceServer = new provider.ResourceServer(params.resource, resourceServer);
    context.oidc.entity('AccessToken', token);
    context.body = {
      access_token: await token.save(),
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'Bearer',
      expires_in: token.expiration,
      scope: token.scope,
    };
  },
  parameters,
);

provider.listen(Number(port), '127.0.0.1');
