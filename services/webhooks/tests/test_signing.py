"""What is signed verifies with its secret, and no byte of it can be another."""

from collections.abc import Iterator, Mapping
from time import time

import pytest

from chassis.secret import Secret
from docs.webhooks.verify import NotVerified, verify
from services.webhooks.signing import key_of, new_secret, signature_headers

EVENT = "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f"
BODY = '{"type":"contact.created","data":{"first_name":"Zoë"}}'.encode()
OURS = "X-FlowNurture-Signature"


def signed(*secrets: Secret, body: bytes = BODY) -> dict[str, str]:
    return dict(signature_headers(EVENT, int(time()), body, [key_of(secret) for secret in secrets]))


def verifies(secret: Secret, headers: Mapping[str, str], body: bytes = BODY) -> bool:
    try:
        return verify(headers, body, [secret.reveal()]) == EVENT
    except NotVerified:
        return False


def changed(value: bytes) -> Iterator[bytes]:
    """The value with each of its bytes in turn as each other byte."""
    for place, byte in enumerate(value):
        for other in range(256):
            if other != byte:
                yield value[:place] + bytes([other]) + value[place + 1 :]


def changed_text(value: str) -> Iterator[str]:
    return (written.decode("latin-1") for written in changed(value.encode()))


def test_a_secret_is_32_random_bytes_in_the_form_of_standard_webhooks() -> None:
    one, other = new_secret(), new_secret()
    assert one.reveal().startswith("whsec_")
    assert len(key_of(one)) == 32
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize("written", ["", "whsec_", "whsec_?", "whsec_AAA", "sk_AAAA", "AAAA"])
def test_what_is_no_secret_makes_no_key(written: str) -> None:
    with pytest.raises(ValueError, match=r"base64|padding|Only"):
        key_of(Secret(written))
    with pytest.raises(ValueError, match=r"base64|padding|Only"):
        verify(signed(new_secret()), BODY, [written])


def test_a_delivery_verifies_with_its_secret_alone() -> None:
    secret = new_secret()
    assert verifies(secret, signed(secret))
    assert not verifies(new_secret(), signed(secret))


def test_the_id_stays_and_the_time_is_the_attempts() -> None:
    key = key_of(new_secret())
    first, second = (dict(signature_headers(EVENT, at, BODY, [key])) for at in (1_795_867_200, 1_795_867_205))
    assert first["webhook-id"] == second["webhook-id"] == EVENT
    assert (first["webhook-timestamp"], second["webhook-timestamp"]) == ("1795867200", "1795867205")
    assert first[OURS].startswith(f"t=1795867200,id={EVENT},v1=")
    assert second[OURS].startswith(f"t=1795867205,id={EVENT},v1=")


def test_while_a_rotation_lasts_either_secret_verifies() -> None:
    new, old, other = new_secret(), new_secret(), new_secret()
    headers = signed(new, old)
    for secret in (new, old):
        assert verifies(secret, headers)
    assert not verifies(other, headers)


def test_the_names_of_headers_are_found_in_any_case() -> None:
    secret = new_secret()
    assert verifies(secret, {name.upper(): value for name, value in signed(secret).items()})


def test_no_byte_of_the_body_can_be_another() -> None:
    secret = new_secret()
    headers = signed(secret)
    for body in changed(BODY):
        assert not verifies(secret, headers, body)


def test_no_byte_of_our_header_can_be_another() -> None:
    secret = new_secret()
    headers = signed(secret)
    for value in changed_text(headers[OURS]):
        assert not verifies(secret, {OURS: value})
        assert not verifies(secret, {OURS: value.encode("latin-1").decode(errors="surrogateescape")})
