"""The Ed25519 keys that access tokens are signed with, and the public half of them as a JWK set.

The first key signs and all of them verify, so a key is rotated by putting a new one in front and taking the old one
away once the last token it signed has expired.
"""

import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.secret import Secret

SEED_BYTES = 32


class SigningKeys:
    """Keys by their id, the first of which signs."""

    def __init__(self, seeds: Mapping[str, Secret]) -> None:
        self._keys = {kid: _private_key(kid, seed) for kid, seed in seeds.items()}
        if not self._keys:
            raise ValueError("there must be at least one signing key")
        self.key_id, self.private_key = next(iter(self._keys.items()))
        self.jwks = json.dumps({"keys": [_jwk(kid, key) for kid, key in self._keys.items()]}).encode()


def _private_key(kid: str, seed: Secret) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(b64decode(seed.reveal(), validate=True))
    except ValueError:
        raise ValueError(f"signing key {kid!r} is not the base64 of {SEED_BYTES} bytes") from None


def _jwk(kid: str, key: Ed25519PrivateKey) -> dict[str, str]:
    """The public key as RFC 8037 writes it."""
    x = urlsafe_b64encode(key.public_key().public_bytes_raw()).decode().rstrip("=")
    return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x}
