// Verifies access tokens offline, with the keys that the issuer publishes.

import { OAuthError, OAuthErrorCode } from '@modelcontextprotocol/server';
import { createRemoteJWKSet, errors, jwtVerify } from 'jose';

/**
 * What `requireBearerAuth` asks: is this token good, here and now? `audience` is this server's own URL: a token for
 * another server is none. `now` replaces the clock, for tests.
 */
export function bearerVerifier({ issuer, jwksUri, audience, now = () => new Date() }) {
  const verify = jwtVerifier({ issuer, jwksUri, audience, now });
  return {
    async verifyAccessToken(token) {
      const claims = await verify(token);
      return {
        token,
        clientId: claims.act.sub,
        scopes: (claims.scope ?? '').split(' '),
        expiresAt: claims.exp,
        resource: new URL(audience),
        extra: { sub: claims.sub, act: claims.act },
      };
    },
  };
}

/**
 * The claims of a good token. A bad one is an `invalid_token`; keys that can't be fetched are the server's own trouble.
 */
export function jwtVerifier({ issuer, jwksUri, audience, now = () => new Date() }) {
  const keyOf = keysAt(jwksUri);
  return async (token) => {
    try {
      const requiredClaims = ['sub', 'act', 'exp'];
      const options = { issuer, audience, typ: 'at+jwt', requiredClaims, currentDate: now() };
      return (await jwtVerify(token, keyOf, options)).payload;
    } catch (error) {
      if (error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout)) {
        throw new OAuthError(OAuthErrorCode.InvalidToken, 'The access token is not valid here, or no longer.');
      }
      throw error;
    }
  };
}

/**
 * Finds the key of a token. Asks for the keys again after 2 minutes, or after 30 seconds if the token names a new one. While
 * the issuer can't be reached, the last keys do for a day.
 */
function keysAt(jwksUri) {
  const keys = createRemoteJWKSet(new URL(jwksUri), { cacheMaxAge: 24 * 3600_000, cooldownDuration: Infinity });
  let askedAt = -Infinity;
  let asking;
  return async (header, token) => {
    const isKnown = keys.jwks()?.keys.some(({ kid }) => kid === header.kid);
    if (Date.now() - askedAt >= (isKnown ? 120_000 : 30_000)) {
      askedAt = Date.now();
      asking = keys.reload().catch((error) => console.error(`no keys from the issuer: ${error.message}`));
    }
    await asking;
    return keys(header, token);
  };
}
