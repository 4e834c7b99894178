"""The library of Standard Webhooks verifies what is signed, and nothing else."""

from collections.abc import Iterator, Mapping
from time import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from chassis.secret import Secret
from services.webhooks.signing import key_of, new_secret, signature_headers

EVENT = "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f"
BODY = '{"type":"contact.created","data":{"first_name":"Zoë"}}'.encode()
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def signed(*secrets: Secret) -> dict[str, str]:
    return dict(signature_headers(EVENT, int(time()), BODY, [key_of(secret) for secret in secrets]))


def verifies(secret: Secret, headers: Mapping[str, str], body: bytes = BODY) -> bool:
    try:
        Webhook(secret.reveal()).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError):  # ValueError: no base64, no UTF-8
        return False
    return True


def changed(value: bytes) -> Iterator[bytes]:
    """The value with each of its bytes in turn as each other byte."""
    for place, byte in enumerate(value):
        for other in range(256):
            if other != byte:
                yield value[:place] + bytes([other]) + value[place + 1 :]


def changed_text(value: str) -> Iterator[str]:
    return (written.decode("latin-1") for written in changed(value.encode()))


def test_a_delivery_is_verified() -> None:
    secret = new_secret()
    assert verifies(secret, signed(secret))
    assert not verifies(new_secret(), signed(secret))


def test_while_a_rotation_lasts_either_secret_verifies() -> None:
    new, old = new_secret(), new_secret()
    assert verifies(new, signed(new, old))
    assert verifies(old, signed(new, old))
    assert not verifies(new_secret(), signed(new, old))


def test_no_byte_of_the_body_can_be_another() -> None:
    secret = new_secret()
    headers = signed(secret)
    for body in changed(BODY):
        assert not verifies(secret, headers, body)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_no_byte_of_the_id_and_the_timestamp_can_be_another(name: str) -> None:
    secret = new_secret()
    headers = signed(secret)
    for value in changed_text(headers[name]):
        assert not verifies(secret, headers | {name: value})


def test_no_byte_of_the_signature_can_be_another() -> None:
    secret = new_secret()
    headers = signed(secret)
    signature = headers["webhook-signature"]
    scheme, encoded = signature[:3], signature[3:]
    for value in changed_text(scheme):
        assert not verifies(secret, headers | {"webhook-signature": value + encoded})
    for place, letter in enumerate(encoded):
        # Not each other byte: the last letter of base64 has bits that nothing is read from.
        other = BASE64[(BASE64.find(letter) + 32) % 64]
        value = scheme + encoded[:place] + other + encoded[place + 1 :]
        assert not verifies(secret, headers | {"webhook-signature": value})
