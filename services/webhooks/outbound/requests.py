"""A post as HTTP/1.1 says it (RFC 9112 §3, §5)."""

import re
from collections.abc import Iterable
from functools import lru_cache

from services.webhooks.outbound.addresses import Refused
from services.webhooks.outbound.destinations import Destination

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# By these a request says where it ends, where it goes and what becomes of its connection, which is for the client alone to say.
_OURS = {
    *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "expect"),
    *("te", "trailer", "proxy-connection", "proxy-authorization", "accept-encoding"),
}


class Posts:
    """What all posts to a destination begin with."""

    def __init__(self, destination: Destination) -> None:
        self._beginning = (
            f"POST {destination.target} HTTP/1.1\r\nHost: {destination.authority}\r\n"
            "User-Agent: FlowNurture-Webhooks/1\r\nAccept: */*\r\n"
        )

    def with_body(self, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
        """The whole request, for one write. Raises Refused for a header that is none."""
        lines = [self._beginning]
        for name, value in headers:
            require_header(name, value)
            lines.append(f"{name}: {value}\r\n")
        lines.append(f"Content-Length: {len(body)}\r\n\r\n")
        return "".join(lines).encode("latin-1") + body


def require_header(name: str, value: str) -> None:
    """Raises Refused for a header that is not one line (RFC 9110 §5.5), or that the client says itself."""
    if not _may_be_named(name):
        raise Refused("A header has a name that it cannot have.")
    if not _VALUE.fullmatch(value):
        raise Refused("A header has a value that is not one line of text.")


@lru_cache(maxsize=1_024)
def _may_be_named(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name.lower() not in _OURS
