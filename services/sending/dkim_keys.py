"""Keys that sign mail (RFC 6376, RFC 8463): made here, kept sealed, shown to the world by their public half."""

from base64 import b64encode
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

# RFC 8301 §3.2: at least 1024, should be 2048; longer ones do not fit into one string of DNS twice.
_RSA_BITS = 2048
_RSA_EXPONENT = 65_537
# RFC 1035 §3.3: what one string of a TXT record holds.
_STRING = 255

PrivateKey: TypeAlias = RSAPrivateKey | Ed25519PrivateKey


class Algorithm(StrEnum):
    """How a key signs, as `k=` says it."""

    RSA = "rsa"
    ED25519 = "ed25519"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A fresh key: what is sealed, and what is published."""

    algorithm: Algorithm
    private_der: bytes
    public: str

    @classmethod
    def generate(cls, algorithm: Algorithm) -> "KeyPair":
        """Make one. RSA takes some tenths of a second of processor time."""
        key: PrivateKey
        if algorithm is Algorithm.RSA:
            key = generate_private_key(_RSA_EXPONENT, _RSA_BITS)
            public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            key = Ed25519PrivateKey.generate()
            # RFC 8463 §4.2: the bare key.
            public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return cls(algorithm, private, b64encode(public).decode())


def load(private_der: bytes) -> PrivateKey:
    """The key that was made.

    An RSA key is not looked at again: it was made here and has been sealed since, and whether its primes are primes would take tens of
    milliseconds of the loop, for each domain and minute.
    """
    key = load_der_private_key(private_der, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise TypeError("not a key that signs mail")
    return key


def published(algorithm: Algorithm, public: str) -> str:
    """The text of the key's TXT record (RFC 6376 §3.6.1)."""
    return f"v=DKIM1; k={algorithm.value}; p={public}"


def strings(text: str) -> list[str]:
    """A TXT record's text as the strings that it is published in."""
    return [text[start : start + _STRING] for start in range(0, len(text), _STRING)]
