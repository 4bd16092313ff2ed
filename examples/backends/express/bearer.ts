// The middleware: no request reaches a handler without a caller who has the scopes it takes (RFC 6750, RFC 9728).

import type { Request, RequestHandler, Response } from 'express';
import { InvalidToken, KeysUnavailable, type Caller } from './caller.ts';

/** A response whose `locals` hold the caller: one a request, so that nobody else's can be there. */
export type Known = Response<unknown, { caller: Caller }>;

/** Makes the middleware of a route, for the scopes that the route needs. All of them are in each challenge. */
export function bearer(callerOf: (token: string) => Promise<Caller>, resourceMetadataUrl: string) {
  return (...needed: string[]): RequestHandler =>
    async (request, response, next) => {
      const challenge = (status: number, error?: string) => {
        const parts = [`scope="${needed.join(' ')}"`, `resource_metadata="${resourceMetadataUrl}"`];
        if (error) parts.unshift(`error="${error}"`);
        response.status(status).set('WWW-Authenticate', `Bearer ${parts.join(', ')}`);
        response.json({ error: error ?? 'unauthorized' });
      };

      const token = tokenOf(request);
      if (token === undefined) return challenge(401);
      let caller: Caller;
      try {
        caller = await callerOf(token);
      } catch (error) {
        if (error instanceof KeysUnavailable) return void response.status(503).json({ error: 'temporarily_unavailable' });
        if (!(error instanceof InvalidToken)) return next(error);
        console.log(`refused: ${error.message}`);
        return challenge(401, 'invalid_token');
      }
      const allowed = needed.every((scope) => caller.scopes.includes(scope));
      const { method, path } = request;
      const { grant_id, txn } = caller.claims;
      const who = { jti: caller.tokenId, sub: caller.user, act: caller.agent, grant_id, txn };
      console.log(JSON.stringify({ method, path, allowed, ...who }));
      if (!allowed) return challenge(403, 'insufficient_scope');
      response.locals['caller'] = caller;
      next();
    };
}

/** The token of the one Authorization header. Never one of the URL or the body. */
function tokenOf(request: Request): string | undefined {
  const headers = request.headersDistinct['authorization'] ?? [];
  return headers.length === 1 ? /^Bearer +(\S+)$/i.exec(headers[0] ?? '')?.[1] : undefined;
}
