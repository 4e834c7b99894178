"""HTTP Message Signatures (RFC 9421) of webhooks, for endpoints that ask for them, over the digest of the body (RFC 9530)."""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from hmac import digest

_COMPONENTS = '("@method" "@target-uri" "content-digest" "webhook-id")'
# A signature is found by its label, which is also its tag, since a label is not signed (RFC 9421 §7.2.5). The second is there while a rotation lasts.
_LABELS = ("flownurture", "flownurture-previous")


def message_signature_headers(
    url: str, event_id: str, at: int, body: bytes, keys: Sequence[bytes], *, key_id: str
) -> list[tuple[str, str]]:
    """`Content-Digest`, `Signature-Input` and `Signature` of one attempt. The request also carries `webhook-id`, which is signed.

    Args:
        url: Where the body is posted, as the receiver puts it together (RFC 9421 §2.2.2): absolute, in ASCII, with a path, without a fragment.
        event_id: The value of `webhook-id`.
        at: When the attempt is made, in whole seconds since 1970.
        body: What is sent, byte for byte.
        keys: The current key and, while a rotation lasts, the previous one. Each makes a signature (`hmac-sha256`, RFC 9421 §3.3.3).
        key_id: What the receiver finds the secret by: the id of the endpoint. It needs no quoting (RFC 8941 §3.3.3).
    """
    content_digest = f"sha-256=:{b64encode(sha256(body).digest()).decode()}:"
    parameters, signatures = dict[str, str](), dict[str, str]()
    for label, key in zip(_LABELS, keys, strict=False):
        parameters[label] = f'{_COMPONENTS};created={at};keyid="{key_id}";alg="hmac-sha256";tag="{label}"'
        signature_base = (
            f'"@method": POST\n"@target-uri": {url}\n"content-digest": {content_digest}\n'
            f'"webhook-id": {event_id}\n"@signature-params": {parameters[label]}'
        ).encode()
        signatures[label] = b64encode(digest(key, signature_base, "sha256")).decode()
    return [
        ("Content-Digest", content_digest),
        ("Signature-Input", ", ".join(f"{label}={signed}" for label, signed in parameters.items())),
        ("Signature", ", ".join(f"{label}=:{signature}:" for label, signature in signatures.items())),
    ]
