// Who is calling, and for whom: from the access token alone, verified here with the keys that the issuer publishes.
// Nothing else of a request says who its user is: no X-User-Id, no parameter, no cookie.

import { createRemoteJWKSet, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose';

/** What a good token says. It goes from the request to the query as an argument, and is kept nowhere else. */
export interface Caller {
  /** For whom: `sub`. */
  readonly user: string;
  /** Which client acts: the outermost `act.sub`. Inner ones are for the record, never for a decision. */
  readonly agent: string;
  readonly scopes: readonly string[];
  /** `jti`: `procura who` tells the rest. */
  readonly tokenId: string;
  /** Unix seconds. */
  readonly expiresAt: number;
  /** All claims, for the policies of the database. */
  readonly claims: JWTPayload;
}

/** The token is not good here: 401. The message is for the log, and never has the token in it. */
export class InvalidToken extends Error {}

/** The issuer's keys can't be had: nobody can be verified, which is no fault of the caller. */
export class KeysUnavailable extends Error {}

/** What a signed token looks like: three parts, and no character that a decoder would have to overlook. */
const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** What a `jti` looks like. It goes into an SQL comment, so it must not be able to end one. */
const TOKEN_ID = /^[A-Za-z0-9_-]{1,128}$/;

/** No token that we issue lives longer. */
const MAX_LIFETIME_SECONDS = 3600;

/** How far ahead the issuer's clock may be: that counts for `iat` and `nbf`. A token ends when it ends. */
const CLOCK_TOLERANCE_SECONDS = 30;

const MAX_TOKEN_LENGTH = 8192;

/** Milliseconds after which the keys are asked for again: one that the issuer withdrew counts no longer than 5 minutes. */
const KEYS_AGAIN_AFTER = 2 * 60_000;

/** The same where a token names a key that is not among them. Anybody can send such a token. */
const KEYS_AGAIN_FOR_NEW = 30_000;

/** So long the last keys do while the issuer can't be reached. */
const KEYS_KEPT = 24 * 3600_000;

/** What jose says when the keys could not be had, or were none. */
const KEY_TROUBLE = [errors.JOSEError, errors.JWKSTimeout, errors.JWKSInvalid].map(({ code }) => code);

/** Makes the function that tells who sent a token. `algorithm` is the resource's `signing_algorithm` in the registry. */
export function callers(expected: { issuer: string; audience: string; algorithm?: string }) {
  const { issuer, audience, algorithm = 'ES256' } = expected;
  const keyOf = keysOf(issuer);

  return async function callerOf(token: string): Promise<Caller> {
    if (token.length > MAX_TOKEN_LENGTH || !COMPACT.test(token)) throw new InvalidToken('no signed token');
    const { payload, protectedHeader } = await jwtVerify(token, keyOf, {
      issuer,
      audience,
      algorithms: [algorithm],
      typ: 'at+jwt',
      requiredClaims: ['exp', 'iat', 'sub', 'jti'],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      maxTokenAge: MAX_LIFETIME_SECONDS, // refuses an iat in the future, too
    }).catch((error: unknown) => {
      const isVerdict = error instanceof errors.JOSEError && !KEY_TROUBLE.includes(error.code);
      if (isVerdict) throw new InvalidToken(error.code);
      throw new KeysUnavailable('the keys could not be fetched', { cause: error });
    });
    if (typeof protectedHeader.kid !== 'string') throw new InvalidToken('it does not name its key');
    return callerIn(payload);
  };
}

/** Finds the key of a token. While the issuer can't be reached, the last keys go on; one that is not among them is none. */
function keysOf(issuer: string): JWTVerifyGetKey {
  // Left to itself, jose asks after 10 minutes, and verifies nothing if it gets no answer. When to ask is said below.
  const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`), {
    cacheMaxAge: KEYS_KEPT,
    cooldownDuration: Infinity,
  });
  let askedAt = -Infinity;
  let asking: Promise<void> | undefined;

  return async (header, token) => {
    const isKnown = keys.jwks()?.keys.some(({ kid }) => kid === header.kid);
    if (Date.now() - askedAt >= (isKnown ? KEYS_AGAIN_AFTER : KEYS_AGAIN_FOR_NEW)) {
      askedAt = Date.now();
      asking = keys.reload().catch((error: Error) => console.error(`no keys from the issuer: ${error.message}`));
    }
    await asking; // who comes meanwhile waits, too: the keys may be an hour old
    return keys(header, token);
  };
}

/** The caller in verified claims. Types are looked at: a claim may be anything that is JSON. */
function callerIn(claims: JWTPayload): Caller {
  const { sub, jti, exp, iat, act, client_id, scope = '' } = claims;
  const agent = typeof act === 'object' && act !== null && 'sub' in act ? act.sub : undefined;
  if (typeof client_id !== 'string' || typeof scope !== 'string') throw new InvalidToken('no client_id or scope');
  if (typeof sub !== 'string' || sub === '') throw new InvalidToken('no user');
  if (typeof agent !== 'string' || agent === '') throw new InvalidToken('no actor: nobody acts for a user here');
  if (typeof jti !== 'string' || !TOKEN_ID.test(jti)) throw new InvalidToken('no usable jti');
  if (exp === undefined || exp <= Date.now() / 1000) throw new InvalidToken('it has ended');
  if (iat === undefined || exp - iat > MAX_LIFETIME_SECONDS) throw new InvalidToken('it lives too long');
  if (claims['cnf'] !== undefined) throw new InvalidToken('bound to a key, whose proof is not looked at here');
  return { user: sub, agent, scopes: scope.split(' ').filter(Boolean), tokenId: jti, expiresAt: exp, claims };
}
