"""An LLM client by the `mcp` package, as it is. What a person does on the way is asked for on standard output, one JSON
object a line, and answered on standard input: the URL where the browser ended, or nothing of interest.

Arguments: one JSON object with `url`, `redirect_uri`, and `client_metadata_url` or `client_id` if it has one.
"""

import asyncio
import json
import sys
import time
from urllib.parse import parse_qs, urlsplit

import httpx2
import mcp_types as types
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata


def say(**what):
    print(json.dumps(what), flush=True)


async def answer():
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


class Keeper:
    """Keeps tokens and registration, as TokenStorage wants it."""

    def __init__(self, client=None):
        self.tokens = None
        self.client = client

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


async def main(url, redirect_uri, client_metadata_url=None, client_id=None):
    metadata = {
        "client_name": "Python Client",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
    registered = OAuthClientInformationFull(client_id=client_id, **metadata) if client_id else None
    keeper = Keeper(registered)

    async def opens(authorization_url):
        say(authorize=authorization_url)

    async def returns():
        query = parse_qs(urlsplit(await answer()).query)
        return AuthorizationCodeResult(**{name: query[name][0] for name in ("code", "state", "iss") if name in query})

    async def elicit(_context, params):
        say(elicit=params.url)
        await answer()
        return types.ElicitResult(action="accept")

    oauth = OAuthClientProvider(
        server_url=url,
        client_metadata=OAuthClientMetadata(**metadata),
        storage=keeper,
        redirect_handler=opens,
        callback_handler=returns,
        client_metadata_url=client_metadata_url,
    )
    async with httpx2.AsyncClient(auth=oauth, timeout=30) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, elicitation_callback=elicit) as client:
            rows = await client.call_tool("list_records")
            text = [part.text for part in rows.content]
            client_id = keeper.client.client_id
            say(rows=rows.structured_content, text=text, client_id=client_id, tokens=keeper.tokens.model_dump())

            # As if its lifetime had passed: the package looks at its own clock, not at the answer.
            oauth.context.token_expiry_time = time.time() - 1
            rows = await client.call_tool("list_records")
            say(rows=rows.structured_content, tokens=keeper.tokens.model_dump())

            if any(tool.name == "ask_model" for tool in (await client.list_tools()).tools):
                model = await client.call_tool("ask_model", {"question": "Am I well?"})
                say(model=model.structured_content, error=model.is_error)


asyncio.run(main(**json.loads(sys.argv[1])))
