"""An MCP server for health records on FastMCP. It knows two things of Procura: the issuer, and its own URL (the
audience, and what people type into their client)."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import urlsplit

from caller import Caller, DelegationVerifier, current_caller
from fastmcp import FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server.auth import RemoteAuthProvider, require_scopes
from pydantic import Field
from records import Records

ISSUER = os.environ.get("ISSUER", "http://127.0.0.1:8420")
URL = os.environ.get("URL", "http://127.0.0.1:8813/mcp")
DATABASE_URL = os.environ.get("DATABASE_URL", "postgres://records_app@127.0.0.1:5432/records")

AT = urlsplit(URL)
records = Records(DATABASE_URL)

auth = RemoteAuthProvider(
    token_verifier=DelegationVerifier(
        jwks_uri=f"{ISSUER}/.well-known/jwks.json",
        issuer=ISSUER,
        audience=URL,
        algorithm="ES256",  # the resource's signing_algorithm; FastMCP assumes RS256 otherwise
    ),
    required_scopes=["records.read"],  # here, and not at the verifier, so that who lacks it hears 403 and not 401
    challenge_scopes=["records.read"],
    scopes_supported=["records.read", "records.write"],
    authorization_servers=[ISSUER],
    base_url=f"{AT.scheme}://{AT.netloc}",
    resource_name="Health records",
)


@asynccontextmanager
async def lifespan(_server: FastMCP) -> AsyncIterator[None]:
    async with records.pool:
        await records.check()
        yield


mcp = FastMCP("records", auth=auth, lifespan=lifespan)


def shown(caller: Caller, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"for": caller.user, "by": caller.agent, "records": rows}


@mcp.tool
async def list_records() -> dict[str, Any]:
    """Lists your records."""
    caller = current_caller("list_records")
    async with records.of(caller) as transaction:
        return shown(caller, await transaction.rows("SELECT id, note, written_by FROM health_record ORDER BY id"))


@mcp.tool(auth=require_scopes("records.read", "records.write"))
async def add_record(note: Annotated[str, Field(min_length=1, max_length=1000)]) -> dict[str, Any]:
    """Adds a record."""
    caller = current_caller("add_record")
    if "\0" in note:  # PostgreSQL has none in a text
        raise ToolError("note: 1 to 1000 characters are needed, and U+0000 is none")
    add = "INSERT INTO health_record (note) VALUES (%s) RETURNING id, note, written_by"
    async with records.of(caller) as transaction:
        return shown(caller, await transaction.rows(add, [note]))


if __name__ == "__main__":
    # Stateless: each request stands for itself, with its own token.
    mcp.run(transport="http", host=AT.hostname or "127.0.0.1", port=AT.port or 80, path=AT.path,
            stateless_http=True, json_response=True, show_banner=False, uvicorn_config={"access_log": False})
