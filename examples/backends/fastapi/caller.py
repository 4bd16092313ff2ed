"""Who is calling, and for whom: from the access token alone, verified here with the keys that the issuer publishes.

Nothing else of a request says who its user is: no X-User-Id, no parameter, no cookie.
"""

import re
import time
from dataclasses import dataclass
from typing import Any

import jwt

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


class InvalidToken(Exception):
    """The token is not good here: 401."""


class KeysUnavailable(Exception):
    """The issuer's keys can't be had: nobody can be verified, which is no fault of the caller."""


class Keys(jwt.PyJWKClient):
    """The issuer's keys. While it can't be reached, the last ones go on; a key that is not among them is none.

    For an unknown kid PyJWKClient asks again, but not more than once in 30 seconds. It keeps nothing past `lifespan`.
    """

    _last: Any = None
    _last_at = 0.0

    def fetch_data(self) -> Any:
        try:
            self._last, self._last_at = super().fetch_data(), time.monotonic()
        except (jwt.PyJWTError, OSError, ValueError) as error:
            print(f"no keys from the issuer: {error}")
            if self._last is None or time.monotonic() - self._last_at >= KEYS_KEPT:
                raise KeysUnavailable("the keys could not be fetched") from error
        return self._last


class Callers:
    """Tells who sent a token. `algorithm` is the resource's `signing_algorithm` in the registry."""

    def __init__(self, *, issuer: str, audience: str, algorithm: str = "ES256") -> None:
        self._issuer, self._audience, self._algorithm = issuer, audience, algorithm
        self._keys = Keys(f"{issuer}/.well-known/jwks.json", lifespan=KEYS_AGAIN_AFTER, timeout=5)

    def caller_of(self, token: str) -> Caller:
        """Raises InvalidToken or KeysUnavailable. It may fetch keys, so call it where waiting is fine."""
        if len(token) > MAX_TOKEN_LENGTH or not COMPACT.fullmatch(token):
            raise InvalidToken("no signed token")
        try:
            verified = jwt.decode_complete(
                token,
                self._keys.get_signing_key_from_jwt(token),
                algorithms=[self._algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"]},
            )
            typ = verified["header"].get("typ")
            if not isinstance(typ, str) or typ.lower() not in ("at+jwt", "application/at+jwt"):
                raise InvalidToken("not an access token")
            return Caller.of(verified["payload"])
        except (jwt.PyJWTError, ValueError) as error:
            raise InvalidToken(str(error) or type(error).__name__) from error
