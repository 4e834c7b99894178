"""Access tokens and the keys they are signed with."""

import json
import secrets
from base64 import b64encode
from typing import Any
from uuid import uuid4

import jwt

from chassis.secret import Secret
from services.identity.access_tokens import LIFETIME, AccessTokens
from services.identity.signing_keys import SigningKeys


def _seed() -> Secret:
    return Secret(b64encode(secrets.token_bytes(32)).decode())


def _verified(token: str, jwks: bytes) -> dict[str, Any]:
    key = jwt.PyJWKSet.from_json(jwks.decode())[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode_complete(token, key, algorithms=["EdDSA"], audience="api", issuer="https://id.test")


def test_a_token_names_its_session_and_verifies_with_the_published_keys() -> None:
    tokens = AccessTokens(SigningKeys({"k1": _seed()}), issuer="https://id.test", audience="api")
    user, session, organization = uuid4(), uuid4(), uuid4()
    verified = _verified(
        tokens.issue(user_id=user, session_id=session, organization_id=organization), tokens.jwks
    )
    claims = verified["payload"]
    assert verified["header"] == {"alg": "EdDSA", "kid": "k1", "typ": "at+jwt"}
    assert (claims["sub"], claims["sid"], claims["org"]) == (str(user), str(session), str(organization))
    assert claims["exp"] - claims["iat"] == LIFETIME <= 600
    assert claims["jti"]


def test_an_operators_token_names_no_organization() -> None:
    tokens = AccessTokens(SigningKeys({"k1": _seed()}), issuer="https://id.test", audience="api")
    token = tokens.issue(user_id=uuid4(), session_id=uuid4(), organization_id=None)
    assert "org" not in _verified(token, tokens.jwks)["payload"]


def test_the_first_key_signs_and_what_an_older_one_signed_still_verifies() -> None:
    old, new = _seed(), _seed()
    before = AccessTokens(SigningKeys({"old": old}), issuer="https://id.test", audience="api")
    after = AccessTokens(SigningKeys({"new": new, "old": old}), issuer="https://id.test", audience="api")
    ids = {"user_id": uuid4(), "session_id": uuid4(), "organization_id": uuid4()}
    assert _verified(before.issue(**ids), after.jwks)["header"]["kid"] == "old"
    assert _verified(after.issue(**ids), after.jwks)["header"]["kid"] == "new"


def test_the_key_set_holds_public_keys_only() -> None:
    seed = _seed()
    document = SigningKeys({"k1": seed}).jwks
    assert set(json.loads(document)["keys"][0]) == {"kty", "crv", "alg", "use", "kid", "x"}
    assert seed.reveal().encode() not in document
