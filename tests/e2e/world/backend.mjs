// A backend that knows nothing of Procura but its issuer: it verifies with jose and the published keys alone.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRemoteJWKSet, jwtVerify } from 'jose';

/** What the backend holds, per user. */
export const ROWS = {
  'corp|alice': ['Alice: allergy test', 'Alice: blood count', 'Alice: x-ray'],
  'corp|bob': ['Bob: blood count', 'Bob: check-up', 'Bob: vaccination', 'Bob: x-ray'],
};

/** Verifies tokens for one audience, as any backend would; a new one has fetched no keys yet. */
export function verifier(issuer, audience) {
  // No cooldown: a test rotates keys faster than anybody should.
  const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`), { cooldownDuration: 0 });
  return (token) => jwtVerify(token, keys, { issuer, audience, typ: 'at+jwt', requiredClaims: ['sub', 'act', 'jti'] });
}

export class Backend {
  #server;

  static async start(issuer, audience) {
    const backend = new Backend();
    const verify = verifier(issuer, audience);
    backend.#server = createServer(async (request, response) => {
      const answer = (status, headers, body) => response.writeHead(status, headers).end(body && JSON.stringify(body));
      const token = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
      const verified = token && (await verify(token).catch((error) => error));
      if (!verified || verified instanceof Error) {
        return answer(401, { 'www-authenticate': 'Bearer error="invalid_token"' });
      }
      const { sub, act, scope } = verified.payload;
      if (!scope.split(' ').includes('records.read')) {
        return answer(403, { 'www-authenticate': 'Bearer error="insufficient_scope"' });
      }
      answer(200, { 'content-type': 'application/json' }, { by: act.sub, rows: ROWS[sub] ?? [] });
    });
    backend.#server.listen(0, '127.0.0.1');
    await once(backend.#server, 'listening');
    backend.url = `http://127.0.0.1:${backend.#server.address().port}/records`;
    return backend;
  }

  /** What a caller with this token sees. */
  async rows(token) {
    const response = await fetch(this.url, { headers: { authorization: `Bearer ${token}` } });
    return { status: response.status, ...(response.ok ? await response.json() : {}) };
  }

  async stop() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
