"""Judges the tokens of examples/vectors.json by Python libraries, each by the code that the documentation has for it, at
the time that the file says. One JSON object a library and algorithm on standard output.

Arguments: one JSON object with `vectors`, the path of the file; `jwks_uri`; and `modules`, a list of objects with
`library`, `algorithm` and `path`.
"""

import asyncio
import importlib.util
import json
import sys
import warnings
from pathlib import Path

import jwt
import time_machine
from authlib.oauth2 import OAuth2Error
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

warnings.simplefilter("ignore")
asked = json.loads(sys.argv[1])
vectors = json.loads(Path(asked["vectors"]).read_text())


def pyjwt(module):
    return lambda token: module.who_is_calling(f"Bearer {token}"), jwt.PyJWTError


def joserfc(module):
    keys = KeySet.import_key_set(vectors["jwks"])
    return lambda token: module.who_is_calling(f"Bearer {token}", keys), JoseError


def authlib(module):
    validator = module.Validator(lambda: vectors["jwks"])

    def judge(token):
        validator.validate_token(validator.authenticate_token(token), None, None)

    return judge, OAuth2Error


class NotGood(Exception):
    """The verifier said so by None."""


def verifier(of):
    loop = asyncio.new_event_loop()

    def judge(token):
        if loop.run_until_complete(of.verify_token(token)) is None:
            raise NotGood

    return judge, NotGood


def fastmcp(module):
    return verifier(module.auth.token_verifier)


def example_fastmcp(module):
    expected = {"issuer": vectors["issuer"], "audience": vectors["audience"]}
    return verifier(module.DelegationVerifier(jwks_uri=asked["jwks_uri"], algorithm=module.ALGORITHM, **expected))


def example_fastapi(module):
    expected = {"issuer": vectors["issuer"], "audience": vectors["audience"]}
    return module.Callers(algorithm=module.ALGORITHM, **expected).caller_of, module.InvalidToken


judges = {"PyJWT": pyjwt, "joserfc": joserfc, "Authlib": authlib, "FastMCP": fastmcp,
          "examples/backends/fastapi": example_fastapi, "examples/backends/fastmcp": example_fastmcp}


def verdict(judge, refusal, token):
    try:
        judge(token)
        return "passes"
    except refusal:
        return "refused"
    except Exception as error:  # noqa: BLE001: a backend would answer 500
        return f"breaks: {type(error).__name__}: {error}"[:200]


for number, wanted in enumerate(asked["modules"]):
    spec = importlib.util.spec_from_file_location(f"judged_{number}", wanted["path"])
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    # What an example prints of refused tokens is for its own log.
    out, sys.stdout = sys.stdout, sys.stderr
    spec.loader.exec_module(module)
    module.ALGORITHM = wanted["algorithm"]
    judge, refusal = judges[wanted["library"]](module)
    verdict(judge, refusal, vectors["vectors"][0]["token"])  # fetches the keys, while time still passes
    with time_machine.travel(vectors["now"], tick=False):
        found = {
            vector["name"]: verdict(judge, refusal, vector["token"])
            for vector in vectors["vectors"]
            if vector["algorithm"] == wanted["algorithm"]
        }
    sys.stdout = out
    print(json.dumps({"library": wanted["library"], "algorithm": wanted["algorithm"], "found": found}), flush=True)
