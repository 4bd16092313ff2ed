// What real clients send, recorded from their releases and documentation up to August 2026: who they say they are,
// where they want the code, and which parameters they add or leave out. STANDARDS of the field are one thing, this is
// the other.
//
// `registration` is the body of POST /register, for clients that register; `clientId` the address of their document,
// for those that have one; `document` what is in it, for those of
// which there is no copy here. `redirectUri` may be a function of a port. What a client leaves out is not here.

const CODE_AND_REFRESH = ['authorization_code', 'refresh_token'];

export const SHAPES = [
  {
    name: 'ChatGPT, by its document',
    clientId: 'https://chatgpt.com/oauth/client.json',
    redirectUri: 'https://chatgpt.com/connector_platform_oauth_redirect',
    // It asks for every scope of OpenID Connect that is announced, besides those of the resource.
    scope: ({ metadata, scopes }) => [...scopes, ...openid(metadata)],
    resource: true,
    tokenResource: true,
  },
  {
    name: 'ChatGPT, registered once for a connection',
    registration: {
      client_name: 'ChatGPT',
      redirect_uris: ['https://chatgpt.com/connector_platform_oauth_redirect'],
      grant_types: CODE_AND_REFRESH,
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    },
    redirectUri: 'https://chatgpt.com/connector_platform_oauth_redirect',
    scope: ({ metadata, scopes }) => [...scopes, ...openid(metadata)],
    resource: true,
    tokenResource: true,
  },
  {
    name: 'ChatGPT, by the document of one connection',
    clientId: 'https://chatgpt.com/oauth/conn_6f1c-a/client.json',
    redirectUri: 'https://chatgpt.com/connector/oauth/conn_6f1c-a',
    scope: ({ metadata, scopes }) => [...scopes, ...openid(metadata)],
    resource: true,
    tokenResource: true,
  },
  {
    name: 'Codex, by the document of one connection',
    clientId: 'https://chatgpt.com/oauth/codex/conn_6f1c-a/client.json',
    redirectUri: (port) => `http://127.0.0.1:${port}/callback/conn_6f1c-a`,
    scope: ({ scopes }) => scopes,
    resource: true,
  },
  {
    name: 'Codex, by its document',
    clientId: 'https://chatgpt.com/oauth/codex/client.json',
    redirectUri: (port) => `http://127.0.0.1:${port}/callback`,
    // It may ask for what the authorization server announces, not the resource.
    scope: ({ metadata }) => metadata.scopes_supported,
    resource: true,
    // Releases before mid-2026 leave the resource out when they refresh.
    refreshResource: false,
  },
  {
    name: 'Codex, registered',
    registration: {
      client_name: 'Codex',
      redirect_uris: ['http://127.0.0.1:41001/callback'],
      grant_types: CODE_AND_REFRESH,
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    },
    redirectUri: 'http://127.0.0.1:41001/callback',
    resource: true,
  },
  {
    name: 'Claude on the web, by its document',
    clientId: 'https://claude.ai/oauth/mcp-oauth-client-metadata',
    redirectUri: 'https://claude.ai/api/mcp/auth_callback',
    scope: ({ scopes }) => scopes,
    resource: true,
    tokenResource: true,
    refreshResource: true,
  },
  {
    name: 'Claude on the web, registered',
    registration: {
      client_name: 'Claude',
      client_uri: 'https://claude.ai',
      redirect_uris: ['https://claude.ai/api/mcp/auth_callback'],
      grant_types: [...CODE_AND_REFRESH, 'urn:ietf:params:oauth:grant-type:jwt-bearer'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      scope: 'records.read',
    },
    redirectUri: 'https://claude.ai/api/mcp/auth_callback',
    scope: ({ scopes }) => scopes,
    resource: true,
    tokenResource: true,
    refreshResource: true,
  },
  {
    name: 'Claude Code, by its document',
    clientId: 'https://claude.ai/oauth/claude-code-client-metadata',
    redirectUri: (port) => `http://localhost:${port}/callback`,
    scope: ({ scopes }) => scopes,
    resource: true,
    tokenResource: true,
    refreshResource: true,
  },
  {
    name: 'Claude Code, registered',
    registration: (port) => ({
      client_name: 'Claude Code (records)',
      redirect_uris: [`http://localhost:${port}/callback`],
      grant_types: CODE_AND_REFRESH,
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      application_type: 'native',
    }),
    redirectUri: (port) => `http://localhost:${port}/callback`,
    scope: ({ scopes }) => [...scopes, 'offline_access'],
    prompt: 'consent',
    resource: true,
    tokenResource: true,
    refreshResource: true,
  },
  {
    name: 'VS Code, by its document',
    clientId: 'https://vscode.dev/oauth/client-metadata.json',
    redirectUri: 'http://127.0.0.1:33418/',
    scope: ({ scopes }) => scopes,
    resource: true,
    tokenResource: true,
  },
  {
    name: 'VS Code, when its port is taken',
    clientId: 'https://vscode.dev/oauth/client-metadata.json',
    redirectUri: (port) => `http://127.0.0.1:${port}/`,
    scope: ({ scopes }) => scopes,
    resource: true,
    tokenResource: true,
  },
  {
    name: 'VS Code in the browser',
    clientId: 'https://vscode.dev/oauth/client-metadata.json',
    redirectUri: 'https://vscode.dev/redirect',
    scope: ({ scopes }) => scopes,
    resource: true,
    tokenResource: true,
  },
  {
    name: 'VS Code, registered',
    registration: {
      client_name: 'Visual Studio Code',
      client_uri: 'https://code.visualstudio.com',
      grant_types: [...CODE_AND_REFRESH, 'urn:ietf:params:oauth:grant-type:device_code'],
      response_types: ['code'],
      redirect_uris: [
        'https://insiders.vscode.dev/redirect',
        'https://vscode.dev/redirect',
        'http://127.0.0.1/',
        'http://127.0.0.1:33418/',
      ],
      token_endpoint_auth_method: 'none',
      application_type: 'native',
    },
    redirectUri: 'http://127.0.0.1:33418/',
    scope: ({ scopes }) => scopes,
    resource: true,
    tokenResource: true,
  },
  ...[
    'cursor://anysphere.cursor-mcp/oauth/callback',
    'https://www.cursor.com/agents/mcp/oauth/callback',
    'http://localhost:8787/callback',
  ].map((redirectUri) => ({
    name: `Cursor, back to ${new URL(redirectUri).protocol}//`,
    // All three in one registration, and no application_type.
    registration: {
      client_name: 'Cursor',
      redirect_uris: [
        'cursor://anysphere.cursor-mcp/oauth/callback',
        'https://www.cursor.com/agents/mcp/oauth/callback',
        'http://localhost:8787/callback',
      ],
      grant_types: CODE_AND_REFRESH,
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    },
    redirectUri,
    resource: true,
    tokenResource: true,
  })),
  {
    name: 'MCP Inspector',
    registration: {
      client_name: 'MCP Inspector',
      client_uri: 'https://github.com/modelcontextprotocol/inspector',
      redirect_uris: ['http://localhost:6274/oauth/callback', 'http://localhost:6274/oauth/callback/debug'],
      grant_types: CODE_AND_REFRESH,
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      scope: '',
    },
    redirectUri: 'http://localhost:6274/oauth/callback/debug',
    scope: ({ scopes }) => scopes,
    resource: true,
    tokenResource: true,
    origin: 'http://localhost:6274',
  },
  {
    name: 'MCP Inspector on a terminal',
    registration: {
      client_name: 'MCP Inspector',
      redirect_uris: ['http://127.0.0.1:6276/oauth/callback'],
      grant_types: CODE_AND_REFRESH,
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    },
    redirectUri: 'http://127.0.0.1:6276/oauth/callback',
    scope: ({ scopes }) => scopes,
    resource: true,
    tokenResource: true,
  },
  {
    name: 'Gemini CLI',
    registration: {
      client_name: 'Gemini CLI MCP Client',
      redirect_uris: ['http://localhost:7777/oauth/callback'],
      grant_types: CODE_AND_REFRESH,
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      scope: 'records.read',
    },
    redirectUri: 'http://localhost:7777/oauth/callback',
    scope: ({ scopes }) => scopes,
    resource: true,
    tokenResource: true,
  },
  {
    name: 'qwen-code',
    registration: {
      client_name: 'Qwen Code MCP Client',
      redirect_uris: ['http://localhost:7777/oauth/callback'],
      grant_types: CODE_AND_REFRESH,
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      scope: 'records.read',
    },
    redirectUri: 'http://localhost:7777/oauth/callback',
    scope: ({ scopes }) => scopes,
    resource: true,
    tokenResource: true,
  },
  // Their documents are published here under another host; neither says what type of application it is.
  {
    name: 'Zed, by its document',
    document: { client_name: 'Zed', redirect_uris: ['http://127.0.0.1/callback'] },
    redirectUri: (port) => `http://127.0.0.1:${port}/callback`,
    scope: ({ scopes }) => scopes,
    resource: true,
    tokenResource: true,
  },
  {
    name: 'OpenCode, by its document',
    document: { client_name: 'OpenCode', redirect_uris: ['http://127.0.0.1:19876/callback'] },
    redirectUri: (port) => `http://127.0.0.1:${port}/callback`,
    scope: ({ scopes }) => scopes,
    resource: true,
    tokenResource: true,
    // What it really sends is not what its document says, and nothing is sent there.
    sendsInstead: (port) => `http://127.0.0.1:${port}/mcp/oauth/callback`,
  },
  {
    name: 'Copilot Studio, with a secret in the form',
    registration: {
      client_name: 'Microsoft Copilot Studio',
      redirect_uris: ['https://global.consent.azure-apim.net/redirect/records-mcp'],
      grant_types: CODE_AND_REFRESH,
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_post',
    },
    redirectUri: 'https://global.consent.azure-apim.net/redirect/records-mcp',
    scope: ({ scopes }) => scopes,
  },
  {
    name: 'A client that says nothing of how it authenticates',
    registration: { client_name: 'Default', redirect_uris: ['https://app.example.com/callback'] },
    redirectUri: 'https://app.example.com/callback',
    noRefresh: true,
  },
  {
    name: 'A client of the first revision of MCP authorization',
    // It knows no protected-resource metadata, and so neither resource nor scope; some of its kind send no state
    // either.
    registration: {
      client_name: 'An old one',
      redirect_uris: ['http://127.0.0.1:41002/oauth/callback'],
      grant_types: CODE_AND_REFRESH,
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    },
    redirectUri: 'http://127.0.0.1:41002/oauth/callback',
    state: false,
  },
];

const OPENID = ['openid', 'profile', 'email', 'offline_access'];

const openid = (metadata) => (metadata.scopes_supported ?? []).filter((scope) => OPENID.includes(scope));
