// An MCP server for health records: the same rows as ../express, as tools. It knows two things of Procura: the issuer,
// and its own URL (the audience, and what people type into their client).

import { createMcpExpressApp, requireBearerAuth } from '@modelcontextprotocol/express';
import { toNodeHandler } from '@modelcontextprotocol/node';
import {
  createMcpHandler,
  getOAuthProtectedResourceMetadataUrl,
  McpServer,
  OAuthError,
  OAuthErrorCode,
  type AuthInfo,
  type OAuthTokenVerifier,
} from '@modelcontextprotocol/server';
import * as z from 'zod/v4';
import { callers, InvalidToken, type Caller } from './caller.ts';
import { Records } from './records.ts';

const {
  ISSUER = 'http://127.0.0.1:8420',
  URL: url = 'http://127.0.0.1:8811/mcp',
  DATABASE_URL = 'postgres://records_app@127.0.0.1:5432/records',
} = process.env;

/** Which scopes a tool takes. What is not a call of a tool takes those of the first. */
const SCOPES = {
  list_records: ['records.read'],
  add_record: ['records.read', 'records.write'],
} as const satisfies Record<string, readonly string[]>;

const resource = new URL(url);
const records = new Records(DATABASE_URL);
const callerOf = callers({ issuer: ISSUER, audience: url });

const verifier: OAuthTokenVerifier = {
  async verifyAccessToken(token) {
    const caller = await callerOf(token).catch((error: unknown) => {
      if (!(error instanceof InvalidToken)) throw error;
      console.log(`refused: ${error.message}`);
      throw new OAuthError(OAuthErrorCode.InvalidToken, 'The access token is not valid here, or no longer.');
    });
    const { agent, scopes, expiresAt } = caller;
    return { token, clientId: agent, scopes: [...scopes], expiresAt, resource, extra: { caller } };
  },
};

/** The caller whom `verifyAccessToken` found for this request. */
function known(auth: AuthInfo | undefined, tool: keyof typeof SCOPES): Caller {
  const caller = auth?.extra?.['caller'] as Caller | undefined;
  if (!caller || !SCOPES[tool].every((scope) => caller.scopes.includes(scope))) throw new Error('not allowed');
  const { grant_id, txn } = caller.claims;
  console.log(JSON.stringify({ tool, jti: caller.tokenId, sub: caller.user, act: caller.agent, grant_id, txn }));
  return caller;
}

/** The tools, made anew for each request. */
function tools() {
  const server = new McpServer({ name: 'records', version: '1.0.0' });

  server.registerTool('list_records', { description: 'Lists your records' }, async ({ http }) => {
    const caller = known(http?.authInfo, 'list_records');
    const list = 'SELECT id, note, written_by FROM health_record ORDER BY id';
    return shown(caller, await records.as(caller, (query) => query(list)));
  });

  // PostgreSQL has no U+0000 in a text.
  const note = z.string().min(1).max(1000).refine((text) => !text.includes('\0'), {
    error: 'note: 1 to 1000 characters are needed, and U+0000 is none',
  });
  const inputSchema = z.object({ note });
  server.registerTool('add_record', { description: 'Adds a record', inputSchema }, async ({ note }, { http }) => {
    const caller = known(http?.authInfo, 'add_record');
    const add = 'INSERT INTO health_record (note) VALUES ($1) RETURNING id, note, written_by';
    return shown(caller, await records.as(caller, (query) => query(add, [note])));
  });
  return server;
}

const shown = (caller: Caller, rows: { [column: string]: unknown }[]) => ({
  content: rows.map(({ note }) => ({ type: 'text' as const, text: String(note) })),
  structuredContent: { for: caller.user, by: caller.agent, records: rows },
});

const app = createMcpExpressApp({ host: resource.hostname });
const resourceMetadataUrl = getOAuthProtectedResourceMetadataUrl(resource);
// By hand: mcpAuthMetadataRouter wants the metadata of the issuer, so this server could not start while that is away.
app.get(new URL(resourceMetadataUrl).pathname, (_request, response) => {
  response.set('Access-Control-Allow-Origin', '*'); // clients in a browser read it, too
  response.json({
    resource: url,
    resource_name: 'Health records',
    authorization_servers: [ISSUER],
    scopes_supported: SCOPES.add_record,
    bearer_methods_supported: ['header'],
  });
});

const gate = (requiredScopes: readonly string[]) =>
  requireBearerAuth({ verifier, requiredScopes: [...requiredScopes], resourceMetadataUrl, expectedResource: resource });
const gates = new Map(Object.entries(SCOPES).map(([tool, scopes]) => [tool, gate(scopes)]));
const usual = gate(SCOPES.list_records);

const mcp = toNodeHandler(createMcpHandler(tools));
app.all(
  resource.pathname,
  // A client that lacks a scope for this tool hears 403 with all that the tool takes, and can ask the user for more.
  (request, response, next) => {
    const { method, params } = request.body ?? {};
    const tool = method === 'tools/call' ? gates.get(params?.name) : undefined;
    return (tool ?? usual)(request, response, next);
  },
  (request, response) => void mcp(request, response, request.body),
);

await records.check();
const server = app.listen(Number(resource.port), resource.hostname, () => console.log(`listening: ${url}`));
process.on('SIGTERM', () => server.close(() => void records.end()));
