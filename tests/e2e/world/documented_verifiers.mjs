// The code by which pages of the documentation verify tokens (and examples/mcp-server-node), each as a server of its own,
// in the place of one of the backends of examples/: with the audience of that one, so its tokens are to be let in.

import { readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { blocks, fill } from './docs.mjs';
import { freePort, Service } from './processes.mjs';
import { PYTHON } from './python.mjs';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** What makes a server of `whoIsCalling`. */
const NODE_SERVER = (port) => `
import { createServer } from 'node:http';
const answer = (response, status) => response.writeHead(status).end();
createServer((request, response) =>
  whoIsCalling(request.headers.authorization).then(() => answer(response, 200), () => answer(response, 401)),
).listen(${port}, '127.0.0.1');
`;
const PYTHON_SERVER = (port) => `
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            who_is_calling(self.headers.get("authorization", ""))
            self.send_response(200)
        except (jwt.PyJWTError, ConnectionError):
            self.send_response(401)
        self.send_header("content-length", "0")
        self.end_headers()

HTTPServer(("127.0.0.1", ${port}), Handler).serve_forever()
`;

/** By page and language: in whose place it is, and what to write instead of what stands there. */
const PAGES = [
  {
    page: 'docs/how-to/validate-a-token.md',
    language: 'js',
    inPlaceOf: 'express',
    replacements: (audience) => ({ 'https://records.example.com/api': audience }),
    server: NODE_SERVER,
  },
  {
    page: 'docs/how-to/validate-a-token.md',
    language: 'python',
    inPlaceOf: 'fastapi',
    replacements: (audience) => ({ 'https://records.example.com/api': audience }),
    server: PYTHON_SERVER,
  },
  {
    page: 'docs/how-to/connect-an-express-server.md',
    language: 'js',
    inPlaceOf: 'mcp-node',
    replacements: (audience, port) => ({ 'https://records.example.com/mcp': audience, 'port: 8800': `port: ${port}` }),
  },
  {
    page: 'docs/how-to/connect-a-fastmcp-server.md',
    language: 'python',
    inPlaceOf: 'fastmcp',
    replacements: (audience, port) => ({
      'https://records.example.com': audience.replace(/\/mcp$/, ''),
      'port=8800': `port=${port}`,
    }),
  },
  {
    page: 'examples/mcp-server-node/verify.mjs',
    language: 'js',
    inPlaceOf: 'express',
    server: (port, issuer, audience) => `
const expected = { issuer: '${issuer}', jwksUri: '${issuer}/.well-known/jwks.json', audience: '${audience}' };
const verify = jwtVerifier(expected);
const whoIsCalling = (authorization = '') => verify(authorization.replace('Bearer ', ''));
${NODE_SERVER(port)}`,
  },
];

export class DocumentedVerifier {
  #kind;
  #service;
  #url;

  static all = () => PAGES.map((kind) => new DocumentedVerifier(kind));

  constructor(kind) {
    this.#kind = kind;
    this.name = `${kind.page}, ${kind.language}`;
    this.inPlaceOf = kind.inPlaceOf;
  }

  /** Starts it, from a file in this folder. `more` is added to its environment. */
  async start({ folder, issuer, audience, more }) {
    const { page, language, replacements, server } = this.#kind;
    const port = await freePort();
    const text = replacements
      ? fill((await blocks(page, language))[0], { 'https://auth.example.com': issuer, ...replacements(audience, port) })
      : await readFile(join(ROOT, page), 'utf8');
    const file = join(folder, `${this.inPlaceOf}-${port}.${language === 'js' ? 'mjs' : 'py'}`);
    await writeFile(file, text + (server?.(port, issuer, audience) ?? ''));
    const modules = join(ROOT, 'examples/backends/mcp-node/node_modules');
    await symlink(modules, join(folder, 'node_modules')).catch((error) => {
      if (error.code !== 'EEXIST') throw error;
    });
    this.#url = `http://127.0.0.1:${port}${server ? '' : '/mcp'}`;
    const command = language === 'js' ? process.execPath : PYTHON;
    this.#service = new Service(command, [file], { cwd: folder, env: { ...process.env, ...more } });
    await this.#service.ready(async () => !(await this.letsIn()));
  }

  async stop() {
    await this.#service?.stop('SIGTERM');
  }

  /** Whether a request with this token gets past the verification, whatever is said to it then. */
  async letsIn(token) {
    const { status } = await fetch(this.#url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        connection: 'close',
        ...(token && { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
    });
    return ![401, 500].includes(status);
  }
}
