// `npm start`: both backends, as the environment says. README.md has the registry file that goes with it.

import { startModels } from './models.mjs';
import { start } from './server.mjs';

const {
  ISSUER = 'http://127.0.0.1:8420',
  URL: url = 'http://127.0.0.1:8800/mcp',
  MODELS_URL: models = 'http://127.0.0.1:8801/ask',
  CLIENT_ID: clientId = 'records-mcp',
  CLIENT_SECRET: clientSecret,
} = process.env;

if (!clientSecret) {
  console.error('CLIENT_SECRET is not set: `procura client rotate-secret records-mcp` prints it, once.');
  process.exit(1);
}
await startModels({ issuer: ISSUER, url: models });
await start({ issuer: ISSUER, url, clientId, clientSecret, models });
console.log(`MCP server: ${url}`);
