"""What of an answer's body is kept: its beginning, as text, without what is secret or would harm whoever looks at it."""

import re
from collections.abc import Collection

from chassis.secret import Secret

MOST_CHARACTERS = 1_000
_HIDDEN = "***"
# Forms of credentials: ours, and those that answers repeat from the headers they were sent.
_CREDENTIAL = re.compile(
    r"whsec_[A-Za-z0-9+/=_-]+|fnk_(?:live|derived)_[0-9A-Za-z_-]+|(?i:(?<=bearer )|(?<=basic ))[A-Za-z0-9+/=._~-]+"
)
_UNPRINTABLE = re.compile(r"[^\S\n\t ]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffd]")
# What is shorter would hide half of any text.
_SHORTEST_SECRET = 6


def scrubbed(body: bytes, secrets: Collection[Secret]) -> str:
    """The text of a body, at most 1,000 characters, with these secrets and all that looks like a credential hidden."""
    text = body.decode("utf-8", "replace")
    for secret in secrets:
        value = secret.reveal()
        if len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, _HIDDEN)
    return _UNPRINTABLE.sub("", _CREDENTIAL.sub(_HIDDEN, text))[:MOST_CHARACTERS]
