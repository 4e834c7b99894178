"""Verify webhooks of FlowNurture. One file to copy, Python 3.10 or newer, nothing to install.

event_id = verify(request.headers, request.body, ["whsec_…"])  # the bytes as they came, before they are parsed
"""

import hashlib
import hmac
import json
import re
import sys
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

HEADER = "x-flownurture-signature"


class NotVerified(Exception):
    """Answer it with 400, and do nothing of what the body says. `reason`: `unsigned`, `mismatch`, `stale` or `future`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    tolerance: int = 300,
    now: float | None = None,
) -> str:
    """The id of the event, if the body was signed with one of your secrets at most `tolerance` seconds ago.

    Raises:
        NotVerified: It was not.
        ValueError: What you gave as a secret is none.
    """
    values = [value for name, value in headers.items() if name.lower() == HEADER]
    fields = [field.partition("=")[::2] for field in values[0].split(",")] if values else []
    named = dict(fields)
    at, event_id = named.get("t", ""), named.get("id", "")
    signatures = [value for name, value in fields if name == "v1"]
    if not (re.fullmatch("[0-9]{1,12}", at) and event_id and signatures):
        raise NotVerified("unsigned")

    # What is no UTF-8 in a header comes as surrogates, and is to be refused as anything else is.
    content = f"{event_id}.{at}.".encode(errors="surrogateescape") + body
    expected = [hmac.new(_key(secret), content, hashlib.sha256).hexdigest() for secret in secrets]
    if not any(_same(mine, theirs) for mine in expected for theirs in signatures):
        raise NotVerified("mismatch")

    age = (time.time() if now is None else now) - int(at)
    if age > tolerance:
        raise NotVerified("stale")
    if age < -tolerance:
        raise NotVerified("future")
    return event_id


def _key(secret: str) -> bytes:
    prefix, key = secret[:6], secret[6:]
    # Whoever knows that it is empty could sign with an empty key.
    if prefix != "whsec_" or not key:
        raise ValueError("A secret is whsec_ and base64.")
    return b64decode(key, validate=True)


def _same(mine: str, theirs: str) -> bool:
    return hmac.compare_digest(mine.encode(), theirs.encode(errors="surrogateescape"))


class RecentIds:
    """The ids of events that were handled, as long as a copy of their delivery could pass `verify`.

    It forgets when the process ends, and knows nothing of other processes, nor of what is sent again hours later. Where
    handling an event twice does harm, keep the ids in your database instead: in a column that is unique, written in the
    transaction that does what the event asks for.
    """

    def __init__(self, tolerance: int = 300) -> None:
        # Signed at most `tolerance` ahead of this clock, it passes until `tolerance` after that.
        self._kept = 2 * tolerance
        self._handled: dict[str, float] = {}

    def __contains__(self, event_id: str) -> bool:
        """Whether the event was handled: answer 200, and do nothing."""
        self._forget(time.monotonic() - self._kept)
        return event_id in self._handled

    def add(self, event_id: str) -> None:
        """Note an event when it is handled, not before: what failed is sent again, and is to be handled then."""
        self._handled.pop(event_id, None)
        self._handled[event_id] = time.monotonic()

    def _forget(self, before: float) -> None:
        # In the order in which they were added.
        for event_id, _ in list(takewhile(lambda handled: handled[1] < before, self._handled.items())):
            del self._handled[event_id]


def _outcomes(vectors: Path) -> Iterator[str]:
    for vector in json.loads(vectors.read_text(encoding="utf-8"))["vectors"]:
        try:
            verify(vector["headers"], vector["body"].encode(), vector["secrets"], now=vector["now"])
        except NotVerified as refused:
            yield f"{vector['name']}: {refused.reason}"
        else:
            yield f"{vector['name']}: verified"


if __name__ == "__main__":  # python verify.py vectors.json
    print(*_outcomes(Path(sys.argv[1])), sep="\n")
