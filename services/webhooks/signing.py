"""Signatures of webhooks: one content, keyed with one secret, in our own header and in those of Standard Webhooks.

What is signed is `{id}.{t}.{body}`: the id of the event, which is the same in every attempt; the moment of the attempt in whole
seconds since 1970; and the body, byte for byte. docs/webhooks.md tells receivers how to verify it.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from hmac import digest
from secrets import token_bytes

from chassis.secret import Secret

_PREFIX = "whsec_"
_KEY_BYTES = 32


def new_secret() -> Secret:
    """A secret for an endpoint, as its owner is shown it: `whsec_` and 32 random bytes in base64."""
    return Secret(_PREFIX + b64encode(token_bytes(_KEY_BYTES)).decode())


def key_of(secret: Secret) -> bytes:
    """The bytes that a secret stands for, and that key every signature.

    Raises:
        ValueError: It is no secret of an endpoint.
    """
    prefix, key = secret.reveal()[: len(_PREFIX)], secret.reveal()[len(_PREFIX) :]
    if prefix != _PREFIX or not key:
        raise ValueError("a secret of an endpoint is whsec_ and base64")
    return b64decode(key, validate=True)


def signature_headers(event_id: str, at: int, body: bytes, keys: Sequence[bytes]) -> list[tuple[str, str]]:
    """The headers that sign one attempt: `X-FlowNurture-Signature`, and the three of Standard Webhooks.

    Args:
        event_id: What the receiver knows the event by. It holds neither a dot, which would end it in what is signed, nor a comma.
        at: When the attempt is made, in whole seconds since 1970.
        body: What is sent, byte for byte.
        keys: The current key and, while a rotation lasts, the previous one. Each makes a signature.
    """
    content = f"{event_id}.{at}.".encode() + body
    signatures = [digest(key, content, "sha256") for key in keys]
    ours = ",".join(f"v1={signature.hex()}" for signature in signatures)
    standard = " ".join(f"v1,{b64encode(signature).decode()}" for signature in signatures)
    return [
        ("X-FlowNurture-Signature", f"t={at},id={event_id},{ours}"),
        ("webhook-id", event_id),
        ("webhook-timestamp", str(at)),
        ("webhook-signature", standard),
    ]
