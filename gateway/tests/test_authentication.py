"""Who is let in: forged, stale and mistyped credentials are not, whatever is wrong with them."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
import string
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.api_key import ApiKey
from chassis.contract.access import Audience
from chassis.derived_key import derive
from chassis.identifiers import new_id
from flownurture.options.v1 import access_pb2
from gateway.endpoints import public_endpoints
from gateway.tests.house import House


def _segment(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _claims(token: str) -> dict[str, object]:
    payload = token.split(".")[1]
    claims: dict[str, object] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return claims


def _unsigned(token: str) -> str:
    return f"{_segment({'alg': 'none', 'typ': 'at+jwt', 'kid': 'k1'})}.{_segment(_claims(token))}."


def _hs256(token: str, secret: bytes) -> str:
    head = f"{_segment({'alg': 'HS256', 'typ': 'at+jwt', 'kid': 'k1'})}.{_segment(_claims(token))}"
    return f"{head}.{_segment(hmac.digest(secret, head.encode(), hashlib.sha256))}"


async def test_a_good_token_is_let_in(house: House) -> None:
    token, _ = house.identity.user()
    assert (await house.call("GET", "/v1/me", token)).status_code == 200


@pytest.mark.parametrize(
    "forgery",
    [
        "unsigned",
        "hs256 with the public key, raw",
        "hs256 with the public key, pem",
        "another key",
        "unknown key id",
        "no key id",
        "wrong issuer",
        "wrong audience",
        "audience among others",
        "no audience",
        "wrong type",
        "plain type",
        "expired",
        "lives too long",
        "not yet issued",
        "no session",
        "session is no id",
        "no subject",
        "no issue time",
        "no expiry",
        "tampered claims",
        "no signature",
    ],
)
async def test_a_forged_token_is_refused(house: House, forgery: str) -> None:
    identity, now = house.identity, int(time.time())
    token, grant = identity.user()
    public = identity.signing_key.public_key()
    session = grant.session_id
    head, _, signature = token.split(".")
    forged = {
        "unsigned": lambda: _unsigned(token),
        "hs256 with the public key, raw": lambda: _hs256(token, public.public_bytes_raw()),
        "hs256 with the public key, pem": lambda: _hs256(
            token, public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        ),
        "another key": lambda: identity.token(session, key=Ed25519PrivateKey.generate()),
        "unknown key id": lambda: identity.token(session, headers={"kid": "k2"}),
        "no key id": lambda: identity.token(session, headers={"kid": ""}),
        "wrong issuer": lambda: identity.token(session, iss="https://else.test"),
        "wrong audience": lambda: identity.token(session, aud="else"),
        "audience among others": lambda: identity.token(session, aud=["flownurture-api", "else"]),
        "no audience": lambda: identity.token(session, aud=None),
        "wrong type": lambda: identity.token(session, headers={"typ": "rt+jwt"}),
        "plain type": lambda: identity.token(session, headers={"typ": "JWT"}),
        "expired": lambda: identity.token(session, iat=now - 700, exp=now - 100),
        "lives too long": lambda: identity.token(session, exp=now + 6000),
        "not yet issued": lambda: identity.token(session, iat=now + 300, exp=now + 600),
        "no session": lambda: identity.token(session, sid=None),
        "session is no id": lambda: identity.token("all"),
        "no subject": lambda: identity.token(session, sub=None),
        "no issue time": lambda: identity.token(session, iat=None),
        "no expiry": lambda: identity.token(session, exp=None),
        "tampered claims": lambda: f"{head}.{_segment(_claims(token) | {'exp': now + 599})}.{signature}",
        "no signature": lambda: token.rsplit(".", 1)[0] + ".",
    }[forgery]()
    response = await house.call("GET", "/v1/me", forged)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["type"] == "https://flownurture.dev/problems/unauthenticated"


@pytest.mark.parametrize("header", ["", "Bearer", "Basic dTpw", "Bearer a b", "Bearer " + "a" * 9000])
async def test_a_header_without_a_credential_is_refused(house: House, header: str) -> None:
    response = await house.call("GET", "/v1/me", headers={"authorization": header})
    assert response.status_code == 401


async def test_every_change_of_one_character_of_a_key_is_refused_without_a_look_up(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read")
    assert (await house.call("GET", "/v1/contacts", key)).status_code == 200
    looked_up = len(house.identity.resolved)
    changed = [
        key[:position] + ("x" if character != "x" else "y") + key[position + 1 :]
        for position, character in enumerate(key)
    ]
    changed += [key[:-1] + other for other in string.ascii_letters + string.digits if other != key[-1]]
    answers = await asyncio.gather(*(house.call("GET", "/v1/contacts", each) for each in changed))
    assert {response.status_code for response in answers} == {401}
    assert len(house.identity.resolved) == looked_up


async def test_another_secret_for_a_live_key_id_is_refused(house: House) -> None:
    key, grant = house.identity.api_key("contacts:read")
    forged = ApiKey.mint(ApiKey.parse(key).key_id)
    assert (await house.call("GET", "/v1/contacts", forged)).status_code == 401
    assert (await house.call("GET", "/v1/contacts", key)).status_code == 200
    assert (await house.call("GET", "/v1/contacts", forged)).status_code == 401
    assert grant.organization_id


async def test_a_session_that_identity_does_not_know_is_refused(house: House) -> None:
    assert (await house.call("GET", "/v1/me", house.identity.token(str(new_id())))).status_code == 401


async def test_a_key_that_has_expired_is_refused(house: House) -> None:
    expired = Timestamp(seconds=int(time.time()) - 1)
    key, _ = house.identity.api_key("contacts:read", expires_at=expired)
    assert (await house.call("GET", "/v1/contacts", key)).status_code == 401


async def test_role_scope_and_plan_are_told_apart(house: House) -> None:
    member, _ = house.identity.user(access_pb2.ROLE_MEMBER)
    reader, _ = house.identity.api_key("contacts:read")
    for credential, method, path, kind in (
        (member, "GET", "/v1/api-keys", "insufficient-role"),
        (reader, "DELETE", f"/v1/contacts/{new_id()}", "insufficient-scope"),
        (reader, "GET", "/v1/campaigns", "insufficient-scope"),
        (reader, "GET", "/v1/api-keys", "insufficient-scope"),
        (reader, "GET", "/v1/me", "insufficient-scope"),
    ):
        response = await house.call(method, path, credential)
        assert response.status_code == 403
        assert response.json()["type"] == f"https://flownurture.dev/problems/{kind}"


async def test_a_key_with_every_scope_there_is_calls_nothing_that_has_no_scope(house: House) -> None:
    endpoints = [each for each in public_endpoints() if each.access.audience is not Audience.PUBLIC]
    key, _ = house.identity.api_key(*{each.access.scope for each in endpoints if each.access.scope})
    without = [each for each in endpoints if not each.access.scope]
    assert len(without) > 10
    for endpoint in without:
        path = re.sub(r"{\w+}", str(new_id()), endpoint.template.text)
        for credential in (key, derive(key, expires_at=datetime.now(UTC) + timedelta(minutes=1))):
            response = await house.call(endpoint.verb, path, credential)
            assert response.status_code == 403, endpoint.rpc_path
            assert response.json()["type"].endswith("/insufficient-scope")


async def test_a_suspended_organization_is_refused(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read", organization_suspended=True)
    response = await house.call("GET", "/v1/contacts", key)
    assert response.status_code == 403
    assert response.json()["type"].endswith("/organization-suspended")


async def test_what_may_not_be_done_is_refused_before_the_body_is_read(house: House) -> None:
    reader, _ = house.identity.api_key("contacts:read")
    response = await house.call("POST", "/v1/contacts", reader, content=b"{broken")
    assert response.status_code == 403


async def test_two_organizations_never_share_a_context(house: House) -> None:
    credentials = [house.identity.api_key("contacts:read") for _ in range(8)]
    answers = await asyncio.gather(
        *(house.call("GET", "/v1/contacts", key) for _ in range(20) for key, _ in credentials)
    )
    service = house.services["ContactService"]
    by_request = {asked.context.request_id: asked.context for asked in service.asked}
    for index, response in enumerate(answers):
        _, grant = credentials[index % len(credentials)]
        context = by_request[response.headers["x-request-id"]]
        assert str(context.organization_id) == grant.organization_id
        assert context.actor_id == grant.actor.id
