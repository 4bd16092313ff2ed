// The second backend: plain HTTP, no framework, nothing of MCP. It verifies what it is shown, and answers.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';
import { jwtVerifier } from './verify.mjs';

/** Starts it at `url`, which is also the audience of the tokens that it accepts. */
export async function startModels({ issuer, url }) {
  const verify = jwtVerifier({ issuer, jwksUri: `${issuer}/.well-known/jwks.json`, audience: url });
  const server = createServer(async (request, response) => {
    const answer = (status, body, headers) =>
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
    try {
      const token = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
      const { sub, act, scope } = await verify(token ?? '');
      if (!scope.split(' ').includes('model.general')) throw new Error('not for this model');
      const { question } = await json(request);
      answer(200, { text: `You asked: ${question}`, for: sub, by: act.sub, through: act.act?.sub });
    } catch {
      answer(401, { error: 'invalid_token' }, { 'www-authenticate': 'Bearer error="invalid_token"' });
    }
  });
  const { hostname, port } = new URL(url);
  server.listen(Number(port), hostname);
  await once(server, 'listening');
  return server;
}
