"""What RFC 9421 signs is verified by another implementation of it, and covers the request."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from time import time

import pytest
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, InvalidSignature
from http_message_signatures.algorithms import HMAC_SHA256

from services.webhooks.message_signature import message_signature_headers
from services.webhooks.signing import key_of, new_secret

URL = "https://hooks.example.com:8443/in?from=flownurture"
EVENT = "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f"
ENDPOINT = "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e30"
BODY = '{"type":"contact.created","data":{"first_name":"Zoë"}}'.encode()
COVERED = ("@method", "@target-uri", "content-digest", "webhook-id")


@dataclass(frozen=True)
class Request:
    """A request as the verifier takes it."""

    headers: Mapping[str, str]
    method: str = "POST"
    url: str = URL
    body: bytes = BODY


class OneKey(HTTPSignatureKeyResolver):
    """A receiver that has one endpoint."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def resolve_public_key(self, key_id: str) -> bytes | None:
        return self._key if key_id == ENDPOINT else None


def signed(*keys: bytes, at: int | None = None) -> Request:
    headers = message_signature_headers(
        URL, EVENT, int(time()) if at is None else at, BODY, keys, key_id=ENDPOINT
    )
    return Request({"webhook-id": EVENT, **dict(headers)})


def verifies(request: Request, key: bytes, tag: str = "flownurture") -> bool:
    verifier = HTTPMessageVerifier(signature_algorithm=HMAC_SHA256, key_resolver=OneKey(key))
    try:
        found = verifier.verify(
            request,
            max_age=timedelta(minutes=5),
            expect_tag=tag,
            require_components=COVERED,
            body=request.body,
        )
    except InvalidSignature:
        return False
    return [result.label for result in found] == [tag]


@pytest.fixture
def key() -> bytes:
    return key_of(new_secret())


def test_a_signed_request_verifies(key: bytes) -> None:
    assert verifies(signed(key), key)
    assert not verifies(signed(key), key_of(new_secret()))


def test_while_a_rotation_lasts_either_secret_verifies(key: bytes) -> None:
    old = key_of(new_secret())
    request = signed(key, old)
    assert verifies(request, key)
    assert verifies(request, old, tag="flownurture-previous")
    assert not verifies(request, old)


def test_a_signature_of_another_time_does_not_verify(key: bytes) -> None:
    now = int(time())
    assert not verifies(signed(key, at=now - 400), key)
    assert not verifies(signed(key, at=now + 400), key)


def test_nothing_that_is_covered_can_be_another(key: bytes) -> None:
    request = signed(key)
    assert not verifies(replace(request, method="PUT"), key)
    assert not verifies(replace(request, url="https://hooks.example.com/in?from=flownurture"), key)
    assert not verifies(replace(request, url=URL + "2"), key)
    assert not verifies(replace(request, headers={**request.headers, "webhook-id": ENDPOINT}), key)
    for place in range(len(BODY)):
        other = BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :]
        assert not verifies(replace(request, body=other), key)


def test_the_digest_is_that_of_the_rfcs_example_body() -> None:
    headers = dict(message_signature_headers(URL, EVENT, 0, b'{"hello": "world"}', [b"key"], key_id=ENDPOINT))
    assert headers["Content-Digest"] == "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
