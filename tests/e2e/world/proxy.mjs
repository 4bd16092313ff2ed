// A proxy in front of a backend that knows nothing of tokens, in a folder of its own, by the configuration that the
// documentation shows: nginx and Caddy of the system, Traefik and Envoy as locked packages bring them.

import { mkdir, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { blocks, fill } from './docs.mjs';
import { Service } from './processes.mjs';
import { PYTHON } from './python.mjs';

export const PAGE = 'docs/how-to/protect-a-backend-with-a-proxy.md';

/** A backend that says what reached it, headers with their names as they were sent. */
export class PlainBackend {
  #server;
  #answer;

  static async start(answer) {
    const backend = new PlainBackend();
    backend.#answer = answer ?? echo;
    backend.#server = createServer((request, response) => void backend.#answer(request, response));
    backend.#server.listen(0, '127.0.0.1');
    await once(backend.#server, 'listening');
    backend.port = backend.#server.address().port;
    return backend;
  }

  async stop() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

async function echo(request, response) {
  let body = '';
  for await (const chunk of request) body += chunk;
  const { method, url, headers, rawHeaders } = request;
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ method, url, headers, names: rawHeaders.filter((_, index) => index % 2 === 0), body }));
}

/**
 * The proxies that are tried, each with how it is started by the page's configuration. `port` is where it listens,
 * `procura` and `backend` are ports.
 */
export const PROXIES = {
  nginx: async ({ folder, port, procura, backend, settings = {} }) => {
    const [page] = await blocks(PAGE, 'nginx');
    const site = fill(page, {
      'listen 80;': `listen 127.0.0.1:${port};`,
      'server 127.0.0.1:8420;': `server 127.0.0.1:${procura};`,
      'proxy_pass http://127.0.0.1:9000;': `proxy_pass http://127.0.0.1:${backend};`,
      ...settings,
    });
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((kind) => `${kind}_temp_path ${join(folder, kind)};`)
      .join('\n');
    await writeFile(
      join(folder, 'nginx.conf'),
      `daemon off; master_process off; worker_processes 1; pid ${join(folder, 'nginx.pid')}; error_log stderr;
events {}
http { access_log off; ${temporary}
${site}
}`,
    );
    return new Service('nginx', ['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')], { env: onPath() });
  },
  caddy: async ({ folder, port, procura, backend, settings = {} }) => {
    const [page] = await blocks(PAGE, 'caddyfile');
    const site = fill(page, {
      'http://records.example.com': `http://:${port}`,
      '127.0.0.1:8420': `127.0.0.1:${procura}`,
      '127.0.0.1:9000': `127.0.0.1:${backend}`,
      ...settings,
    });
    await writeFile(join(folder, 'Caddyfile'), `{\n\tadmin off\n\tauto_https off\n}\n${site}`);
    await mkdir(join(folder, 'home'), { recursive: true });
    const env = { ...onPath(), HOME: join(folder, 'home'), XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
    return new Service('caddy', ['run', '--config', join(folder, 'Caddyfile'), '--adapter', 'caddyfile'], { env });
  },
  traefik: async ({ folder, port, procura, backend, settings = {} }) => {
    const [site, dynamic] = await blocks(PAGE, 'yaml');
    const rules = fill(dynamic, {
      'Host(`records.example.com`)': 'Host(`127.0.0.1`)',
      'http://127.0.0.1:8420': `http://127.0.0.1:${procura}`,
      'http://127.0.0.1:9000': `http://127.0.0.1:${backend}`,
      ...settings,
    });
    await writeFile(join(folder, 'rules.yml'), rules);
    await writeFile(
      join(folder, 'traefik.yml'),
      `global: { checkNewVersion: false, sendAnonymousUsage: false }
providers: { file: { filename: ${join(folder, 'rules.yml')}, watch: false } }
${fill(site, { '":80"': `"127.0.0.1:${port}"` })}`,
    );
    return new Service(join(dirname(PYTHON), 'traefik'), [`--configFile=${join(folder, 'traefik.yml')}`]);
  },
  envoy: async ({ folder, port, procura, backend, settings = {} }) => {
    const [, , page] = await blocks(PAGE, 'yaml');
    const manager = fill(page, {
      'domains: [records.example.com]': 'domains: ["*"]',
      'http://127.0.0.1:8420': `http://127.0.0.1:${procura}`,
      ...settings,
    });
    const address = (value) => `{ socket_address: { address: 127.0.0.1, port_value: ${value} } }`;
    const cluster = (name, value) => `
  - name: ${name}
    load_assignment:
      cluster_name: ${name}
      endpoints: [{ lb_endpoints: [{ endpoint: { address: ${address(value)} } }] }]`;
    await writeFile(
      join(folder, 'envoy.yaml'),
      `static_resources:
  clusters:${cluster('records', backend)}${cluster('procura', procura)}
  listeners:
  - address: ${address(port)}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: records
${manager.replaceAll(/^/gm, '          ')}`,
    );
    const args = ['--config-path', join(folder, 'envoy.yaml'), '--disable-hot-restart', '--concurrency', '1'];
    return new Service(join(dirname(PYTHON), 'envoy'), [...args, '--log-level', 'warning']);
  },
};

/** Debian keeps nginx where only administrators look. */
function onPath() {
  return { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
}
