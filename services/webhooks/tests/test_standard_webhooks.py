"""The libraries of Standard Webhooks, PyPI's and npm's, verify what is signed, and nothing else: each byte of it is changed in turn."""

import json
import shutil
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import time
from typing import TypeAlias

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from chassis.secret import Secret
from services.webhooks.signing import key_of, new_secret, signature_headers

EVENT = "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f"
BODY = '{"type":"contact.created","data":{"first_name":"Zoë"}}'.encode()
RECEIVER = Path(__file__).parents[3] / "tests/npm/receive.mjs"

Delivery: TypeAlias = tuple[Mapping[str, str], bytes]
# Which of these deliveries a receiver with this secret takes.
Verifier: TypeAlias = Callable[[Secret, Sequence[Delivery]], list[bool]]


def verified_by_pypi(secret: Secret, deliveries: Sequence[Delivery]) -> list[bool]:
    return [_verifies(secret, headers, body) for headers, body in deliveries]


def _verifies(secret: Secret, headers: Mapping[str, str], body: bytes) -> bool:
    try:
        Webhook(secret.reveal()).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError):  # ValueError: no base64, no UTF-8
        return False
    return True


def verified_by_npm(secret: Secret, deliveries: Sequence[Delivery]) -> list[bool]:
    """All of them in one process."""
    told = subprocess.run(
        ["node", RECEIVER],
        input="".join(
            json.dumps({"secret": secret.reveal(), "headers": headers, "body": b64encode(body).decode()})
            + "\n"
            for headers, body in deliveries
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    words = told.stdout.splitlines()
    assert set(words) <= {"verified", "refused"}
    assert len(words) == len(deliveries)
    return [word == "verified" for word in words]


@pytest.fixture(params=["pypi", "npm"])
def verified(request: pytest.FixtureRequest) -> Verifier:
    if request.param == "pypi":
        return verified_by_pypi
    if shutil.which("node") is None or not (RECEIVER.parent / "node_modules").exists():
        pytest.skip("left out without Node and what `make npm` installs")
    return verified_by_npm


def signed(*secrets: Secret) -> dict[str, str]:
    return dict(signature_headers(EVENT, int(time()), BODY, [key_of(secret) for secret in secrets]))


def changed(value: bytes) -> Iterator[bytes]:
    """The value with each of its bytes in turn as each other byte."""
    for place, byte in enumerate(value):
        for other in range(256):
            if other != byte:
                yield value[:place] + bytes([other]) + value[place + 1 :]


def changed_text(value: str) -> Iterator[str]:
    return (written.decode("latin-1") for written in changed(value.encode()))


def test_a_delivery_is_verified(verified: Verifier) -> None:
    secret = new_secret()
    deliveries = [(signed(secret), BODY)]
    assert verified(secret, deliveries) == [True]
    assert verified(new_secret(), deliveries) == [False]


def test_while_a_rotation_lasts_either_secret_verifies(verified: Verifier) -> None:
    new, old = new_secret(), new_secret()
    deliveries = [(signed(new, old), BODY)]
    assert verified(new, deliveries) == verified(old, deliveries) == [True]
    assert verified(new_secret(), deliveries) == [False]


def test_what_is_not_signed_is_refused(verified: Verifier) -> None:
    secret = new_secret()
    headers = signed(secret)
    without_one = [
        {name: value for name, value in headers.items() if name != missing}
        for missing in ("webhook-id", "webhook-timestamp", "webhook-signature")
    ]
    assert not any(verified(secret, [(each, BODY) for each in ({}, *without_one)]))


def test_no_byte_of_the_body_can_be_another(verified: Verifier) -> None:
    secret = new_secret()
    headers = signed(secret)
    assert verified(secret, [(headers, BODY), *((headers, body) for body in changed(BODY))]) == [
        True,
        *[False] * (255 * len(BODY)),
    ]


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_no_byte_of_the_id_and_the_timestamp_can_be_another(verified: Verifier, name: str) -> None:
    secret = new_secret()
    headers = signed(secret)
    deliveries = [(headers | {name: value}, BODY) for value in changed_text(headers[name])]
    assert len(deliveries) == 255 * len(headers[name])
    assert not any(verified(secret, deliveries))


def test_no_byte_of_the_signature_can_be_another(verified: Verifier) -> None:
    secret = new_secret()
    headers = signed(secret)
    signature = headers["webhook-signature"]
    values = list(changed_text(signature))
    assert len(values) == 255 * len(signature)
    taken = verified(secret, [(headers | {"webhook-signature": value}, BODY) for value in values])
    # One may compare bytes, as PyPI's does, or letters, as npm's does. The same bytes in other letters are no other signature.
    same = set(other_ways_to_write(signature))
    assert {value for value, is_taken in zip(values, taken, strict=True) if is_taken} in (set(), same)


def other_ways_to_write(signature: str) -> list[str]:
    """The same bytes in base64: 32 of them take 43 letters, of whose last two bits nothing is read. There are three others."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    scheme, letters = signature[:3], signature[3:]
    others = [letters[:-2] + last + "=" for last in alphabet if last != letters[-2]]
    same = [scheme + other for other in others if b64decode(other) == b64decode(letters)]
    assert len(same) == 3
    return same
