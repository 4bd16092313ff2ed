"""A backend for health records on FastAPI. It knows two things of Procura: the issuer, and its own URL (the audience)."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import urlsplit

import uvicorn
from caller import Caller, Callers, InvalidToken, KeysUnavailable
from fastapi import APIRouter, FastAPI, HTTPException, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import SecurityScopes
from pydantic import BaseModel, Field
from records import Records

ISSUER = os.environ.get("ISSUER", "http://127.0.0.1:8420")
URL = os.environ.get("URL", "http://127.0.0.1:8812/api")
DATABASE_URL = os.environ.get("DATABASE_URL", "postgres://records_app@127.0.0.1:5432/records")

AT = urlsplit(URL)
METADATA_PATH = f"/.well-known/oauth-protected-resource{AT.path}"
METADATA_URL = f"{AT.scheme}://{AT.netloc}{METADATA_PATH}"

callers = Callers(issuer=ISSUER, audience=URL)
records = Records(DATABASE_URL)


def refusal(needed: SecurityScopes, status: int, error: str | None = None) -> HTTPException:
    """The challenge, with all scopes that the route takes (RFC 6750, RFC 9728)."""
    parts = [f'scope="{needed.scope_str}"', f'resource_metadata="{METADATA_URL}"']
    if error:
        parts.insert(0, f'error="{error}"')
    return HTTPException(status, error or "unauthorized", {"WWW-Authenticate": f"Bearer {', '.join(parts)}"})


def allowed(request: Request, needed: SecurityScopes) -> Caller:
    """The caller, if they have the scopes that the route takes. No `async`: keys may have to be fetched."""
    sent = request.headers.getlist("authorization")
    scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        raise refusal(needed, 401)
    try:
        caller = callers.caller_of(token.strip())
    except KeysUnavailable:
        raise HTTPException(503, "temporarily_unavailable") from None
    except InvalidToken as error:
        print(f"refused: {str(error)!r}")  # quoted: it may have a kid in it, which anybody can write
        raise refusal(needed, 401, "invalid_token") from None
    may = caller.scopes.issuperset(needed.scopes)
    access = {"method": request.method, "path": request.url.path, "allowed": may}
    who = {"jti": caller.token_id, "sub": caller.user, "act": caller.agent}
    print(json.dumps({**access, **who, "grant_id": caller.claims.get("grant_id"), "txn": caller.claims.get("txn")}))
    if not may:
        raise refusal(needed, 403, "insufficient_scope")
    return caller


class Note(BaseModel):
    note: Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]+$")]  # PostgreSQL has no U+0000 in a text


api = APIRouter(prefix=AT.path)


@api.get("/records")
async def list_records(caller: Annotated[Caller, Security(allowed, scopes=["records.read"])]) -> dict[str, Any]:
    """There is no WHERE for the user: the database leaves the others' rows out."""
    async with records.of(caller) as transaction:
        rows = await transaction.rows("SELECT id, note, written_by FROM health_record ORDER BY id")
    return {"for": caller.user, "by": caller.agent, "records": rows}


@api.post("/records", status_code=201)
async def add_record(
    body: Note, caller: Annotated[Caller, Security(allowed, scopes=["records.read", "records.write"])]
) -> dict[str, Any]:
    add = "INSERT INTO health_record (note) VALUES (%s) RETURNING id, note, written_by"
    async with records.of(caller) as transaction:
        rows = await transaction.rows(add, [body.note])
    return {"for": caller.user, "by": caller.agent, "records": rows}


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with records.pool:
        await records.check()
        yield


app = FastAPI(title="Health records", lifespan=lifespan)
app.include_router(api)


@app.exception_handler(RequestValidationError)
def not_a_note(_request: Request, _error: RequestValidationError) -> JSONResponse:
    return JSONResponse({"detail": "note: 1 to 1000 characters are needed, and U+0000 is none"}, 400)


@app.get(METADATA_PATH, include_in_schema=False)
def metadata() -> dict[str, Any]:
    return {
        "resource": URL,
        "resource_name": "Health records",
        "authorization_servers": [ISSUER],
        "scopes_supported": ["records.read", "records.write"],
        "bearer_methods_supported": ["header"],
    }


if __name__ == "__main__":
    uvicorn.run(app, host=AT.hostname or "127.0.0.1", port=AT.port or 80, access_log=False)
