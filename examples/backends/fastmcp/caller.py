"""Who is calling, and for whom: from the access token alone, verified here with the keys that the issuer publishes.

Nothing else of a request says who its user is: no X-User-Id, no argument of a tool.
"""

import json
import re
import time
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Any

import httpx2
from fastmcp.server.auth import AccessToken
from fastmcp.server.auth.providers.jwt import JWTVerifier
from fastmcp.server.dependencies import get_access_token

# What a signed token looks like: three parts, and no character that a decoder would have to overlook.
COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# What a jti looks like. It goes into an SQL comment, so it must not be able to end one.
TOKEN_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
# Seconds. No token that we issue lives longer.
MAX_LIFETIME = 3600
# Seconds that the issuer's clock may be ahead: that counts for iat and nbf. A token ends when it ends.
LEEWAY = 30
MAX_TOKEN_LENGTH = 8192
# Seconds after which the keys are asked for again: one that the issuer withdrew counts no longer than 5 minutes.
KEYS_AGAIN_AFTER = 120
# Seconds that the last keys do while the issuer can't be reached.
KEYS_KEPT = 24 * 3600


@dataclass(frozen=True, slots=True)
class Caller:
    """What a good token says. It goes from the request to the query as an argument, and is kept nowhere else."""

    user: str  # for whom: sub
    agent: str  # which client acts: the outermost act.sub; inner ones are for the record, never for a decision
    scopes: frozenset[str]
    token_id: str  # jti: procura who tells the rest
    claims: dict[str, Any]  # all of them, for the policies of the database

    @classmethod
    def of(cls, claims: dict[str, Any]) -> "Caller":
        """The caller in verified claims. Types are looked at: a claim may be anything that is JSON.

        Raises ValueError, whose message never has the token in it.
        """
        user, token_id, scope = claims.get("sub"), claims.get("jti"), claims.get("scope", "")
        agent = claims["act"].get("sub") if isinstance(claims.get("act"), dict) else None
        now, iat, exp = time.time(), claims.get("iat"), claims.get("exp")
        if not isinstance(user, str) or not user:
            raise ValueError("no user")
        if not isinstance(agent, str) or not agent:
            raise ValueError("no actor: nobody acts for a user here")
        if not isinstance(token_id, str) or not TOKEN_ID.fullmatch(token_id):
            raise ValueError("no usable jti")
        if not isinstance(claims.get("client_id"), str) or not isinstance(scope, str):
            raise ValueError("no client_id or scope")
        if not all(type(at) in (int, float) for at in (iat, exp, claims.get("nbf", now))):
            raise ValueError("a time that is none")
        if exp <= now or exp - iat > MAX_LIFETIME:
            raise ValueError("it has ended, or lives too long")
        if max(iat, claims.get("nbf", now)) > now + LEEWAY:
            raise ValueError("it is not yet good")
        if "cnf" in claims:
            raise ValueError("bound to a key, whose proof is not looked at here")
        return cls(user, agent, frozenset(scope.split()), token_id, claims)


class DelegationVerifier(JWTVerifier):
    """FastMCP's verifier looks at signature, issuer, audience and end. This one also wants an access token (`typ`) with
    which a client acts for a user, and goes on with the last keys while the issuer can't be reached."""

    def __init__(self, **expected: Any) -> None:
        super().__init__(**expected)
        # FastMCP has no setting for it, and would count a withdrawn key for an hour. For an unknown kid it asks again, but
        # not more than once in 30 seconds.
        self._cache_ttl = KEYS_AGAIN_AFTER
        self._last: dict[str, Any] | None = None
        self._last_at = 0.0

    async def _fetch_jwks(self) -> dict[str, Any]:
        try:
            self._last, self._last_at = await super()._fetch_jwks(), time.monotonic()
        except (httpx2.HTTPError, ValueError) as error:
            print(f"no keys from the issuer: {error}")
            if self._last is None or time.monotonic() - self._last_at >= KEYS_KEPT:
                raise
        return self._last

    async def verify_token(self, token: str) -> AccessToken | None:
        if len(token) > MAX_TOKEN_LENGTH or not COMPACT.fullmatch(token):
            return None
        access = await super().verify_token(token)
        if access is None:
            return None
        try:
            header = header_of(token)
            if str(header.get("typ")).lower() not in ("at+jwt", "application/at+jwt"):
                raise ValueError("not an access token")
            if not header.get("kid"):
                raise ValueError("it does not name its key")
            caller = Caller.of(access.claims)
        except ValueError as error:
            print(f"refused: {error}")
            return None
        return access.model_copy(update={"client_id": caller.agent})


def header_of(token: str) -> dict[str, Any]:
    """Of a token whose signature was verified."""
    header = token.partition(".")[0]
    return json.loads(urlsafe_b64decode(header + "=" * (-len(header) % 4)))


def current_caller(tool: str) -> Caller:
    """The caller of the tool that runs: of this very request, not of the connection or the session."""
    access = get_access_token()
    if access is None:
        raise PermissionError("nobody is signed in")
    caller = Caller.of(access.claims)
    who = {"jti": caller.token_id, "sub": caller.user, "act": caller.agent}
    print(json.dumps({"tool": tool, **who, "grant_id": access.claims.get("grant_id"), "txn": access.claims.get("txn")}))
    return caller
