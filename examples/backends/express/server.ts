// A backend for health records on Express. It knows two things of Procura: the issuer, and its own URL (the audience).

import express, { type ErrorRequestHandler } from 'express';
import { bearer, type Known } from './bearer.ts';
import { callers } from './caller.ts';
import { Records } from './records.ts';

const {
  ISSUER = 'http://127.0.0.1:8420',
  URL: url = 'http://127.0.0.1:8810/api',
  DATABASE_URL = 'postgres://records_app@127.0.0.1:5432/records',
} = process.env;

const resource = new URL(url);
const metadataPath = `/.well-known/oauth-protected-resource${resource.pathname}`;
const records = new Records(DATABASE_URL);
const allow = bearer(callers({ issuer: ISSUER, audience: url }), new URL(metadataPath, resource).href);

const app = express();
app.disable('x-powered-by');

app.get(metadataPath, (_request, response) => {
  response.json({
    resource: url,
    resource_name: 'Health records',
    authorization_servers: [ISSUER],
    scopes_supported: ['records.read', 'records.write'],
    bearer_methods_supported: ['header'],
  });
});

const api = express.Router();

// There is no WHERE for the user: the database leaves the others' rows out.
api.get('/records', allow('records.read'), async (_request, response: Known) => {
  const { caller } = response.locals;
  const rows = await records.as(caller, (query) => query('SELECT id, note, written_by FROM health_record ORDER BY id'));
  response.json({ for: caller.user, by: caller.agent, records: rows });
});

api.post('/records', allow('records.read', 'records.write'), express.json(), async (request, response: Known) => {
  const { caller } = response.locals;
  const note: unknown = request.body?.note;
  // PostgreSQL has no U+0000 in a text.
  if (typeof note !== 'string' || note.length < 1 || note.length > 1000 || note.includes('\0')) {
    response.status(400).json({ error: 'note: 1 to 1000 characters are needed, and U+0000 is none' });
    return;
  }
  const add = 'INSERT INTO health_record (note) VALUES ($1) RETURNING id, note, written_by';
  const rows = await records.as(caller, (query) => query(add, [note]));
  response.status(201).json({ for: caller.user, by: caller.agent, records: rows });
});

app.use(resource.pathname, api);

const failed: ErrorRequestHandler = (error, _request, response, _next) => {
  const status = error.status >= 400 && error.status < 500 ? error.status : 500;
  if (status === 500) console.error(error);
  response.status(status).json({ error: status === 500 ? 'server_error' : 'invalid_request' });
};
app.use(failed);

await records.check();
const server = app.listen(Number(resource.port), resource.hostname, () => console.log(`listening: ${url}`));
process.on('SIGTERM', () => server.close(() => void records.end()));
