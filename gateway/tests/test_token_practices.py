"""JSON Web Token Best Current Practices (RFC 8725), point by point: docs/tokens.md says which test stands for which.

Most of these tokens are signed with identity's own key, so that it is the point in question alone for which they are refused.
"""

import asyncio
import base64
import json
import socket
import time
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from chassis.context import ActorKind, RequestContext
from chassis.stamp import Stamper
from gateway.settings import GatewaySettings
from gateway.tests.house import House
from gateway.tests.upstream import AUDIENCE, ISSUER

_SOMEBODY = RequestContext(issuer="gateway", actor_kind=ActorKind.USER, actor_id=str(uuid4()))
HEADER = {"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}
# What no claim may be.
WRONG: list[Any] = [None, "", "else", [], {}, True, -1, 1e400, float("nan"), "1e9", [ISSUER], [AUDIENCE]]
# The order of Ed25519's group (RFC 8032, section 5.1).
_ORDER = 2**252 + 27742317777372353535851937790883648493


def _segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _claims(session_id: str) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(uuid4()),
        "sid": session_id,
        "iat": now,
        "exp": now + 600,
    }


class Forger:
    """Makes tokens of a live session, with any header and any claims, signed with identity's key or another."""

    def __init__(self, house: House) -> None:
        _, grant = house.identity.user()
        self.session_id = grant.session_id
        self.claims = _claims(self.session_id)
        self.key = house.identity.signing_key

    def raw(self, header: bytes, payload: bytes, key: Ed25519PrivateKey | None = None) -> str:
        signed = f"{_segment(header)}.{_segment(payload)}"
        return f"{signed}.{_segment((key or self.key).sign(signed.encode()))}"

    def token(self, header: Any = (), claims: Any = (), key: Ed25519PrivateKey | None = None) -> str:
        return self.raw(
            json.dumps(HEADER | dict(header)).encode(),
            json.dumps(self.claims | dict(claims)).encode(),
            key,
        )

    def unsigned(self, header: dict[str, Any]) -> str:
        return f"{_segment(json.dumps(header).encode())}.{_segment(json.dumps(self.claims).encode())}"


@pytest.fixture
def forger(house: House) -> Forger:
    return Forger(house)


async def _refused(house: House, token: str) -> bool:
    response = await house.call("GET", "/v1/me", token)
    assert response.status_code in (200, 401), response.text
    return response.status_code == 401


async def test_what_the_forger_makes_is_good_until_it_changes_something(house: House, forger: Forger) -> None:
    assert not await _refused(house, forger.token())


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, ["EdDSA"], {"alg": "EdDSA"}]
)
async def test_no_algorithm_is_refused_however_it_is_written(
    house: House, forger: Forger, algorithm: Any
) -> None:
    header = HEADER | {"alg": algorithm}
    assert await _refused(house, forger.unsigned(header) + ".")
    assert await _refused(house, forger.token(header))


@pytest.mark.parametrize(
    "algorithm", ["HS256", "HS512", "RS256", "PS256", "ES256", "ES256K", "Ed25519", "Ed448", "eddsa"]
)
async def test_an_algorithm_is_never_the_tokens_choice(house: House, forger: Forger, algorithm: str) -> None:
    assert await _refused(house, forger.token({"alg": algorithm}))


@pytest.mark.parametrize("alg", ["own", "EdDSA"])
@pytest.mark.parametrize("kind", ["ES256", "RS256", "Ed448"])
async def test_a_signature_of_another_kind_of_key_is_refused(
    house: House, forger: Forger, kind: str, alg: str
) -> None:
    signed = forger.unsigned(HEADER | {"alg": kind if alg == "own" else alg})
    if kind == "ES256":
        r, s = decode_dss_signature(
            ec.generate_private_key(ec.SECP256R1()).sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        )
        signature = r.to_bytes(32) + s.to_bytes(32)
    elif kind == "RS256":
        key = rsa.generate_private_key(65537, 2048)
        signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = Ed448PrivateKey.generate().sign(signed.encode())
    assert await _refused(house, f"{signed}.{_segment(signature)}")


async def test_a_signature_has_one_form_only(house: House, forger: Forger) -> None:
    token = forger.token()
    signed, _, written = token.rpartition(".")
    signature = base64.urlsafe_b64decode(written + "==")
    # RFC 8032, section 5.1.7: S plus the order of the group would verify too if nobody looked.
    s = int.from_bytes(signature[32:], "little") + _ORDER
    assert await _refused(house, f"{signed}.{_segment(signature[:32] + s.to_bytes(32, 'little'))}")
    assert await _refused(house, f"{signed}.{_segment(signature[:-1])}")
    assert await _refused(house, f"{signed}.{_segment(signature + bytes(1))}")
    assert await _refused(house, f"{signed}.{_segment(bytes(64))}")


@pytest.mark.parametrize(
    "token_type",
    [None, "", "JWT", "jwt", "AT+JWT", "at+jwt ", "rt+jwt", "dpop+jwt", "logout+jwt", 1, ["at+jwt"]],
)
async def test_a_token_of_another_type_or_of_none_is_refused(
    house: House, forger: Forger, token_type: Any
) -> None:
    assert await _refused(house, forger.token({"typ": token_type}))
    header = {name: value for name, value in HEADER.items() if name != "typ"}
    assert await _refused(house, forger.raw(json.dumps(header).encode(), json.dumps(forger.claims).encode()))


@pytest.mark.parametrize(
    "key_id",
    [
        None,
        "",
        1,
        True,
        ["k1"],
        {"k1": "k1"},
        "K1",
        " k1",
        "k1\u0000",
        "../k1",
        "/dev/null",
        "/proc/self/environ",
        "http://127.0.0.1/k1",
        "k1' OR '1'='1",
        "$(id)",
        "k" * 2500,
    ],
)
async def test_a_key_id_is_looked_up_and_nothing_else(house: House, forger: Forger, key_id: Any) -> None:
    assert await _refused(house, forger.token({"kid": key_id}))


@pytest.mark.parametrize("own", [True, False], ids=["honest key id", "no key id"])
@pytest.mark.parametrize("parameter", ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"])
async def test_a_key_that_a_token_brings_along_is_not_used_and_not_fetched(
    house: House, forger: Forger, parameter: str, own: bool
) -> None:
    theirs = Ed25519PrivateKey.generate()
    public = _segment(theirs.public_key().public_bytes_raw())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
        header: dict[str, Any] = {
            "jwk": {"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": public},
            "jku": address,
            "x5u": address,
            "x5c": [public],
        }
        brought = {parameter: header.get(parameter, public)} | ({} if own else {"kid": "theirs"})
        assert await _refused(house, forger.token(brought, key=theirs))
        if own:
            # With an honest signature it is as if the parameter was not there.
            assert not await _refused(house, forger.token(brought))
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"]},
        {"crit": ["unheard-of"], "unheard-of": True},
        {"crit": []},
        {"crit": "b64"},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
    ],
)
async def test_a_critical_extension_that_is_not_understood_is_refused(
    house: House, forger: Forger, header: dict[str, Any]
) -> None:
    assert await _refused(house, forger.token(header))


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        (claim, value)
        for claim in ("iss", "aud", "sub", "sid", "iat", "exp")
        for value in WRONG
        # Whose session it is, is told by the session.
        if not (claim == "sub" and isinstance(value, str))
    ],
)
async def test_a_claim_of_another_value_or_kind_is_refused(
    house: House, forger: Forger, claim: str, value: Any
) -> None:
    assert await _refused(house, forger.token(claims={claim: value}))


@pytest.mark.parametrize(
    ("iat", "exp"),
    [(60, 600), (0, 601), (0, 86_400), (0, 0), (-1200, -600), (600, 0), (-3600, 500)],
    ids=["issued later", "a second too long", "a day", "no life", "expired", "backwards", "issued long ago"],
)
async def test_a_token_lives_ten_minutes_from_now_and_no_longer(
    house: House, forger: Forger, iat: int, exp: int
) -> None:
    now = int(time.time())
    # Five seconds by which clocks may differ are allowed: none of these is as close.
    exp = exp - 30 if exp == 0 else exp
    assert await _refused(house, forger.token(claims={"iat": now + iat, "exp": now + exp}))


async def test_a_token_that_begins_later_is_refused(house: House, forger: Forger) -> None:
    assert await _refused(house, forger.token(claims={"nbf": int(time.time()) + 60}))


async def test_the_last_of_members_with_one_name_counts_and_the_others_hide_nothing(
    house: House, forger: Forger
) -> None:
    header, claims = json.dumps(HEADER), json.dumps(forger.claims)
    for twice in ('"alg": "none"', '"typ": "JWT"', '"kid": "k2"', '"crit": ["x"]'):
        assert await _refused(house, forger.raw(f"{header[:-1]}, {twice}}}".encode(), claims.encode()))
    for twice in ('"aud": "else"', '"iss": "else"', '"exp": 1', f'"sid": "{uuid4()}"'):
        assert await _refused(house, forger.raw(header.encode(), f"{claims[:-1]}, {twice}}}".encode()))


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"[" * 1000,
        b'{"a":' * 250,
        b"\xff\xfe",
        json.dumps(HEADER).encode("utf-16"),
        json.dumps(HEADER).encode("utf-16-le"),
        json.dumps(HEADER).encode("utf-32-be"),
        json.dumps(HEADER).encode("utf-8-sig"),
        b'{"alg": "EdDSA", "typ": "at+jwt", "kid": "k1", "x": "\xff"}',
        b'{"exp": ' + b"9" * 1200 + b"}",
        b'{"exp": 1e999999}',
    ],
)
async def test_what_is_no_json_in_utf_8_is_refused_and_breaks_nothing(
    house: House, forger: Forger, garbage: bytes
) -> None:
    assert await _refused(house, forger.raw(garbage, json.dumps(forger.claims).encode()))
    assert await _refused(house, forger.raw(json.dumps(HEADER).encode(), garbage))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
async def test_claims_in_another_encoding_are_refused(house: House, forger: Forger, encoding: str) -> None:
    assert await _refused(
        house, forger.raw(json.dumps(HEADER).encode(), json.dumps(forger.claims).encode(encoding))
    )


async def test_a_token_is_three_parts_in_strict_base64url(house: House, forger: Forger) -> None:
    token = forger.token()
    header, payload, signature = token.split(".")
    for changed in (
        f"{token}.{signature}",
        f"{token}.{signature}.{signature}",
        f"{header}.{payload}",
        f"{header}..{signature}",
        f".{payload}.{signature}",
        f"{token}=",
        f"{header}=.{payload}.{signature}",
        f"{header}.{payload}.{signature[:-1]}",
        "..",
        ".",
    ):
        assert await _refused(house, changed), changed


async def test_a_huge_token_is_refused_before_anything_is_read_of_it(house: House, forger: Forger) -> None:
    assert await _refused(house, forger.token(claims={"padding": "x" * 5000}))


async def test_an_encrypted_or_a_nested_token_is_none_of_ours(house: House, forger: Forger) -> None:
    sealed = _segment(json.dumps({"alg": "dir", "enc": "A256GCM", "zip": "DEF", "typ": "at+jwt"}).encode())
    assert await _refused(
        house, f"{sealed}..{_segment(bytes(12))}.{_segment(bytes(64))}.{_segment(bytes(16))}"
    )
    header = json.dumps(HEADER | {"cty": "JWT"}).encode()
    assert await _refused(house, forger.raw(header, forger.token().encode()))


async def test_nothing_else_that_the_platform_signs_or_hands_out_is_an_access_token(
    house: House, forger: Forger
) -> None:
    settings = GatewaySettings(**house.settings)
    # A stamp is signed with Ed25519 too, and says more than any token does.
    stamp = Stamper("gateway", settings.stamp_private_key).stamp(_SOMEBODY, "identity")
    refresh_token = f"fnr_{_segment(bytes(32))}"
    answers = await asyncio.gather(
        *(_refused(house, other) for other in (_segment(stamp), refresh_token, forger.session_id))
    )
    assert all(answers)
