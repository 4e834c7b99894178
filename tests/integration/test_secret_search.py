"""A secret is found in whatever form it was written, wherever it stands, and nothing else is taken for it."""

import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from html import escape
from os import urandom
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.secret_search import Search

PASSWORD = 'a "slow" & green\\tram, für <Ada> +1/2?'
KEY = b64encode(urandom(32)).decode()
FORMS: dict[str, Callable[[str], bytes]] = {
    "as it is": str.encode,
    "in a URL's path": lambda secret: quote(secret, safe="").encode(),
    "in a URL's query": lambda secret: quote_plus(secret).encode(),
    "in JSON": lambda secret: json.dumps({"a": [secret]}).encode(),
    "in JSON of UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False).encode(),
    "in HTML": lambda secret: escape(secret).encode(),
    "in a dump's text": lambda secret: secret.replace("\\", "\\\\").encode(),
    "in a dump's bytes": lambda secret: b"\\x" + secret.encode().hex().encode(),
    "in capital hex": lambda secret: secret.encode().hex().upper().encode(),
    "in basic authentication": lambda secret: b64encode(f"user:{secret}".encode()),
    "in base64": lambda secret: b64encode(secret.encode()),
    "in base64url": lambda secret: urlsafe_b64encode(f"{secret}.".encode()),
}


@pytest.mark.parametrize("secret", [PASSWORD, KEY], ids=["a password", "a key"])
@pytest.mark.parametrize("form", FORMS)
@given(before=st.binary(max_size=40), after=st.binary(max_size=40))
def test_a_secret_is_found_in_every_form_wherever_it_stands(
    form: str, secret: str, before: bytes, after: bytes
) -> None:
    written = FORMS[form](secret)
    search = Search({"the secret": secret.encode(), "another": urandom(32)})
    assert search.found(before + written + after) == {"the secret"}
    assert search.found(before + after) == set()


@pytest.mark.parametrize("written", [bytes, bytes.hex, lambda raw: urlsafe_b64encode(raw).decode()])
def test_the_bytes_that_a_key_stands_for_are_the_key(written: Callable[[bytes], bytes | str]) -> None:
    found = written(b64decode(KEY))
    data = found if isinstance(found, bytes) else found.encode()
    assert Search({"key": KEY.encode()}).found(b"it is " + data) == {"key"}


def test_a_part_of_a_key_that_is_as_long_as_a_key_is_found() -> None:
    token = "fnk_live_" + "7" * 32
    assert Search({"token": token.encode()}).found(b"key id " + b"7" * 32) == {"token"}


def test_short_secrets_and_all_of_many_are_found() -> None:
    secrets = {str(number): urandom(4).hex().encode() for number in range(500)}
    search = Search(secrets)
    assert search.found(b"\n".join(secrets.values())) == secrets.keys()
    assert search.found(b"") == set()
