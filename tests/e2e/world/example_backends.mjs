// The backends of examples/backends/, each as a process of its own, and how to call each as a client would.

import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { freePort, Service } from './processes.mjs';
import { PYTHON } from './python.mjs';

export const FOLDER = fileURLToPath(new URL('../../../examples/backends/', import.meta.url));

/** The one that is built: an example of the crate. */
const AXUM =
  process.env.AXUM_BACKEND_BIN ??
  join(process.env.CARGO_TARGET_DIR ?? join(FOLDER, '../../target'), 'debug/examples/axum-backend');

const rest = {
  path: '/api',
  list: () => ({ method: 'GET', path: '/records' }),
  add: (note) => ({ method: 'POST', path: '/records', body: { note } }),
  read: (body) => ({ shown: body.records && body }),
};

const mcp = {
  path: '/mcp',
  list: () => tool('list_records', {}),
  add: (note) => tool('add_record', { note }),
  read: ({ result, error }) => ({
    shown: result && !result.isError ? result.structuredContent : undefined,
    trouble: error?.message ?? (result?.isError ? result.content?.[0]?.text : undefined),
  }),
};

/** The call of a tool in MCP 2026-07-28: each request stands for itself, without a session. */
const tool = (name, args) => ({
  method: 'POST',
  path: '',
  headers: { 'mcp-protocol-version': REVISION, 'mcp-method': 'tools/call', 'mcp-name': name },
  body: { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args, _meta: META } },
});

const REVISION = '2026-07-28';
const META = {
  'io.modelcontextprotocol/protocolVersion': REVISION,
  'io.modelcontextprotocol/clientInfo': { name: 'e2e', version: '1.0.0' },
  'io.modelcontextprotocol/clientCapabilities': {},
};

/** Each backend: how it is started, and how it is spoken to. */
export const BACKENDS = {
  express: { command: [process.execPath, 'server.ts'], ...rest },
  'mcp-node': { command: [process.execPath, 'server.ts'], ...mcp },
  fastapi: { command: [PYTHON, 'server.py'], ...rest },
  fastmcp: { command: [PYTHON, 'server.py'], ...mcp },
  axum: { command: [AXUM], ...rest },
};

export class ExampleBackend {
  #kind;
  #service;
  // An idle connection is closed here before a server does it, which might be just when it is used again.
  #agent = new Agent({ keepAlive: true, maxSockets: 64, timeout: 2000 });

  constructor(name, url) {
    Object.assign(this, { name, url });
    this.#kind = BACKENDS[name];
  }

  /** Where one will be, before it is started: that is its audience. */
  static async address(name) {
    return `http://127.0.0.1:${await freePort()}${BACKENDS[name].path}`;
  }

  /** `more` is added to its environment. */
  async start({ issuer, databaseUrl, more = {} }) {
    const [program, ...args] = this.#kind.command;
    const own = { ISSUER: issuer, URL: this.url, DATABASE_URL: databaseUrl, PYTHONDONTWRITEBYTECODE: '1' };
    const env = { ...process.env, ...own, ...more };
    this.#service = new Service(program, args, { cwd: FOLDER + this.name, env });
    await this.#service.ready(async () => (await this.list()).status === 401);
  }

  async stop() {
    this.#agent.destroy();
    await this.#service?.stop('SIGTERM');
  }

  /** What it printed. */
  get log() {
    return this.#service.output;
  }

  /** Asks for the records. The answer: `status`, `challenge`, and what is `shown`: for whom, by whom, the records. */
  list(token, headers) {
    return this.#call(this.#kind.list(), token, headers);
  }

  add(token, note, headers) {
    return this.#call(this.#kind.add(note), token, headers);
  }

  async #call({ method, path, body, headers: own }, token, headers = {}) {
    const outgoing = request(this.url + path, {
      method,
      agent: this.#agent,
      headers: {
        ...headers,
        ...own,
        accept: 'application/json, text/event-stream',
        ...(token && { authorization: `Bearer ${token}` }),
        ...(body && { 'content-type': 'application/json' }),
      },
      timeout: 30_000,
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`${this.name} did not answer in time`)));
    const response = await new Promise((resolve, reject) => {
      outgoing.once('response', resolve).once('error', reject);
      outgoing.end(body && JSON.stringify(body));
    });
    const answer = await text(response);
    const { statusCode: status, headers: received } = response;
    const challenge = received['www-authenticate'];
    const isStream = received['content-type']?.startsWith('text/event-stream');
    const json = isStream ? /^data: (\{.*)$/m.exec(answer)?.[1] : answer;
    return { status, challenge, answer, ...(status < 300 ? this.#kind.read(JSON.parse(json)) : {}) };
  }
}
