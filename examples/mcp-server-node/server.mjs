// An MCP server that shows each user their own records, and asks a second backend, the models, for that same user.
//
// It knows three things of Procura: the issuer, its own URL (the audience of the tokens that it accepts), and the
// secret by which it exchanges such a token for one that the models accept. It never passes a token on.

import { once } from 'node:events';
import { createMcpExpressApp, mcpAuthMetadataRouter, requireBearerAuth } from '@modelcontextprotocol/express';
import { toNodeHandler } from '@modelcontextprotocol/node';
import {
  buildOAuthProtectedResourceMetadata,
  CLIENT_CAPABILITIES_META_KEY,
  createMcpHandler,
  getOAuthProtectedResourceMetadataUrl,
  inputRequired,
  inputResponse,
  McpServer,
  UrlElicitationRequiredError,
} from '@modelcontextprotocol/server';
import cors from 'cors';
import * as z from 'zod/v4';
import { exchanger } from './exchange.mjs';
import { bearerVerifier } from './verify.mjs';

/** What is kept here, by the `sub` of the token. Another user's rows are not reachable with it. */
const RECORDS = {
  'corp|alice': ['Alice: allergy test', 'Alice: blood count', 'Alice: x-ray'],
  'corp|bob': ['Bob: blood count', 'Bob: check-up', 'Bob: vaccination', 'Bob: x-ray'],
};

const SCOPES = ['records.read'];

/**
 * Starts the server. `url` is its own, as people type it into their client; `models` the URL of the second backend,
 * which is also its audience; `clientId` and `clientSecret` what this server is registered with.
 */
export async function start({ issuer, url, clientId, clientSecret, models, now }) {
  const resource = new URL(url);
  const discovery = await fetch(`${issuer}/.well-known/oauth-authorization-server`);
  const oauthMetadata = await discovery.json();
  if (oauthMetadata.issuer !== issuer) throw new Error(`${issuer} calls itself ${oauthMetadata.issuer}`);

  const exchange = exchanger({ tokenEndpoint: oauthMetadata.token_endpoint, clientId, clientSecret, resource: models });
  const resourceMetadataUrl = getOAuthProtectedResourceMetadataUrl(resource);
  const metadata = { oauthMetadata, resourceServerUrl: resource, resourceName: 'Records', scopesSupported: SCOPES };
  const bearer = requireBearerAuth({
    verifier: bearerVerifier({ issuer, jwksUri: oauthMetadata.jwks_uri, audience: url, now }),
    requiredScopes: SCOPES,
    resourceMetadataUrl,
  });
  const mcp = toNodeHandler(
    createMcpHandler((request) => tools({ exchange, models, legacy: request.era === 'legacy' })),
  );

  const app = createMcpExpressApp({ host: resource.hostname });
  app.use(mcpAuthMetadataRouter(metadata));
  // For clients that look at the root. A client in a browser has to see the challenge, too.
  app.use(cors({ exposedHeaders: ['WWW-Authenticate', 'Mcp-Session-Id'] }));
  app.get('/.well-known/oauth-protected-resource', (_request, response) => {
    response.json(buildOAuthProtectedResourceMetadata(metadata));
  });
  app.all(resource.pathname, bearer, (request, response) => void mcp(request, response, request.body));

  const server = app.listen(Number(resource.port), resource.hostname);
  await once(server, 'listening');
  return server;
}

/** The tools, made anew for each request. `legacy`: the client speaks a revision of MCP before 2026-07-28. */
function tools({ exchange, models, legacy }) {
  const server = new McpServer({ name: 'records', version: '1.0.0' });

  server.registerTool('list_records', { description: 'Lists your records' }, ({ http: { authInfo } }) =>
    said(RECORDS[authInfo.extra.sub] ?? [], { for: authInfo.extra.sub, by: authInfo.clientId }),
  );

  const inputSchema = z.object({ question: z.string() });
  server.registerTool(
    'ask_model',
    { description: 'Asks the model about you', inputSchema },
    async ({ question }, ctx) => {
      const answer = await exchange(ctx.http.authInfo.token, 'model.general');
      if (answer.error === 'consent_required') return askForConsent(answer.consent_uri, ctx, legacy);
      if (answer.error) return refused(`The models may not be asked: ${answer.error_description ?? answer.error}`);

      const response = await fetch(models, {
        method: 'POST',
        headers: { authorization: `Bearer ${answer.access_token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ question }),
      });
      if (!response.ok) return refused(`The models answered ${response.status}.`);
      const { text, ...seen } = await response.json();
      return said([text], seen);
    },
  );
  return server;
}

/**
 * The user has to agree first, on a page of Procura: URL-mode elicitation. Since 2026-07-28 it is a result that asks
 * for input, and the client calls again by itself; before that an error, after which the user lets the client try
 * again.
 */
function askForConsent(url, ctx, legacy) {
  const message = 'Allow this server to ask the models for you. Open the page, allow it, and try again.';
  if (legacy) {
    throw new UrlElicitationRequiredError([{ mode: 'url', elicitationId: crypto.randomUUID(), url, message }], message);
  }
  // The answer says that the user opened the page, or did not want to; not that they allowed anything.
  const before = inputResponse(ctx.mcpReq.inputResponses, 'consent');
  if (before.kind === 'elicit') return refused(`The models were not asked: you have not allowed it yet. ${url}`);
  const { elicitation } = ctx.mcpReq.envelope?.[CLIENT_CAPABILITIES_META_KEY] ?? {};
  if (!elicitation?.url) return refused(`${message} ${url}`);
  return inputRequired({ inputRequests: { consent: inputRequired.elicitUrl({ message, url }) } });
}

const said = (lines, structured) => ({
  content: lines.map((text) => ({ type: 'text', text })),
  structuredContent: { ...structured, lines },
});

const refused = (text) => ({ isError: true, content: [{ type: 'text', text }] });
