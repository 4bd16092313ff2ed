// The users' identity provider, as much as the load needs: discovery, keys, and tens of thousands of ID tokens.

import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

const KEYS = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
};

export const APP = 'llm-app';

export class Issuer {
  #server;
  #keys;

  static async start() {
    const issuer = new Issuer();
    issuer.#keys = Object.fromEntries(
      Object.entries(KEYS).map(([alg, generate]) => [alg, { ...generate(), kid: `${alg}-${randomUUID()}` }]),
    );
    issuer.#server = createServer((request, response) => {
      const documents = {
        '/.well-known/openid-configuration': { issuer: issuer.url, jwks_uri: `${issuer.url}/jwks` },
        '/jwks': issuer.jwks(),
      };
      const document = documents[request.url];
      response.writeHead(document ? 200 : 404, { 'content-type': 'application/json' });
      response.end(JSON.stringify(document ?? {}));
    });
    issuer.#server.listen(0, '127.0.0.1');
    await once(issuer.#server, 'listening');
    issuer.url = `http://127.0.0.1:${issuer.#server.address().port}`;
    return issuer;
  }

  jwks() {
    const keys = Object.entries(this.#keys).map(([alg, { publicKey, kid }]) => {
      return { ...publicKey.export({ format: 'jwk' }), alg, kid, use: 'sig' };
    });
    return { keys };
  }

  /** The `sub` of the user with this number. */
  static user(number) {
    return `user-${number}`;
  }

  /** So many ID tokens, good for two hours; `userOf` gives the number of each one's user. */
  idTokens(alg, count, userOf = (number) => number) {
    const { privateKey, kid } = this.#keys[alg];
    const encode = (part) => Buffer.from(part).toString('base64url');
    const header = encode(JSON.stringify({ alg, kid, typ: 'JWT' }));
    const now = Math.floor(Date.now() / 1000);
    return Array.from({ length: count }, (_, index) => {
      const number = userOf(index);
      const claims = {
        iss: this.url,
        aud: APP,
        sub: Issuer.user(number),
        iat: now,
        exp: now + 7200,
        auth_time: now,
        acr: 'urn:example:mfa',
        amr: ['pwd', 'otp'],
        nonce: randomUUID(),
        roles: ['doctor'],
        email: `user-${number}@example.com`,
        name: `User ${number}`,
      };
      const input = `${header}.${encode(JSON.stringify(claims))}`;
      const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
      return `${input}.${signature.toString('base64url')}`;
    });
  }

  async stop() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
