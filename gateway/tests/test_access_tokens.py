"""Identity's keys: a new one is found at once, a withdrawn one is dropped, and unknown ids start no flood."""

import json
from base64 import urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.errors import Unauthenticated, Unavailable
from gateway.access_tokens import KeySet


class Published:
    """A key set as identity publishes it, and how often it was fetched."""

    def __init__(self, *key_ids: str) -> None:
        self.key_ids = list(key_ids)
        self.fetched = 0
        self.away = False
        self.now = 1000.0

    async def fetch(self) -> bytes:
        self.fetched += 1
        if self.away:
            raise Unavailable
        keys = [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "alg": "EdDSA",
                "kid": key_id,
                "x": urlsafe_b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
                .decode()
                .rstrip("="),
            }
            for key_id in self.key_ids
        ]
        return json.dumps({"keys": keys}).encode()

    def keys(self) -> KeySet:
        return KeySet(self.fetch, lambda: self.now)


async def test_keys_are_fetched_once_for_many_tokens() -> None:
    published = Published("k1")
    keys = published.keys()
    for _ in range(5):
        assert (await keys.key("k1")).key_id == "k1"
    assert published.fetched == 1


async def test_a_new_key_is_found_and_a_withdrawn_one_forgotten() -> None:
    published = Published("k1")
    keys = published.keys()
    await keys.key("k1")
    published.key_ids = ["k2"]
    published.now += 3
    assert (await keys.key("k2")).key_id == "k2"
    with pytest.raises(Unauthenticated):
        await keys.key("k1")


async def test_unknown_ids_do_not_make_a_fetch_each() -> None:
    published = Published("k1")
    keys = published.keys()
    for number in range(100):
        with pytest.raises(Unauthenticated):
            await keys.key(f"made-up-{number}")
    assert published.fetched == 1


async def test_a_known_key_is_good_while_identity_is_away_and_an_unknown_one_cannot_be_judged() -> None:
    published = Published("k1")
    keys = published.keys()
    await keys.key("k1")
    published.away = True
    published.now += 1000
    assert (await keys.key("k1")).key_id == "k1"
    with pytest.raises(Unavailable):
        await keys.key("k2")


async def test_a_key_of_another_kind_is_none_of_ours_whatever_id_it_has() -> None:
    secret = {
        "kty": "oct",
        "alg": "HS256",
        "kid": "k1",
        "k": urlsafe_b64encode(bytes(32)).decode().rstrip("="),
    }
    ed448 = Ed448PrivateKey.generate().public_key().public_bytes_raw()
    other_curve = {
        "kty": "OKP",
        "crv": "Ed448",
        "kid": "k2",
        "x": urlsafe_b64encode(ed448).decode().rstrip("="),
    }

    async def fetch() -> bytes:
        return json.dumps({"keys": [secret, other_curve]}).encode()

    keys = KeySet(fetch)
    for key_id in ("k1", "k2"):
        with pytest.raises(Unauthenticated):
            await keys.key(key_id)
