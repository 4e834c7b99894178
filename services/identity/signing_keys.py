"""The Ed25519 keys that access tokens are signed with, and the public half of them as a JWK set.

The first key signs and all of them verify, so a key is rotated by putting a new one in front and taking the old one
away once the last token it signed has expired.
"""

import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.secret import Secret


class SigningKeys:
    """Keys from their seeds, 32 bytes in base64, by key id; the first of them signs."""

    def __init__(self, seeds: Mapping[str, Secret]) -> None:
        keys = {
            kid: Ed25519PrivateKey.from_private_bytes(b64decode(seed.reveal())) for kid, seed in seeds.items()
        }
        self.key_id, self.private_key = next(iter(keys.items()))
        self.jwks = json.dumps({"keys": [_jwk(kid, key) for kid, key in keys.items()]}).encode()


def _jwk(kid: str, key: Ed25519PrivateKey) -> dict[str, str]:
    """The public key as RFC 8037 writes it."""
    x = urlsafe_b64encode(key.public_key().public_bytes_raw()).decode().rstrip("=")
    return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x}
