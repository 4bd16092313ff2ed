// Client metadata documents, on loopback as a developer's are.

import { once } from 'node:events';
import { createServer } from 'node:http';

export const REDIRECT_URI = 'http://127.0.0.1:4446/callback';

/** Serves metadata documents, and counts who reads them. */
export class Documents {
  #server;
  #origin;
  #pages = new Map();
  #reads = new Map();

  static async start() {
    const documents = new Documents();
    documents.#server = createServer((request, response) => {
      const url = documents.#origin + request.url;
      documents.#reads.set(url, documents.reads(url) + 1);
      const page = documents.#pages.get(url);
      if (!page) return response.writeHead(404).end();
      response.writeHead(page.status ?? 200, { 'content-type': 'application/json', ...page.headers }).end(page.body);
    });
    documents.#server.listen(0, '127.0.0.1');
    await once(documents.#server, 'listening');
    documents.#origin = `http://127.0.0.1:${documents.#server.address().port}`;
    return documents;
  }

  publish(name, metadata) {
    const url = `${this.#origin}/${name}`;
    const document = {
      client_id: url,
      client_name: 'A client with a document',
      redirect_uris: [REDIRECT_URI],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      ...metadata,
    };
    this.#pages.set(url, { body: JSON.stringify(document) });
    return url;
  }

  unpublish(url) {
    this.#pages.delete(url);
  }

  move(url, location) {
    this.#pages.set(url, { status: 302, headers: { location }, body: '' });
  }

  retype(url, type) {
    this.#pages.get(url).headers = { 'content-type': type };
  }

  reads(url) {
    return this.#reads.get(url) ?? 0;
  }

  async stop() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
