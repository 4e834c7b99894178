"""Whether something answers that it is ready: GET /readyz, with no more of HTTP than that takes."""

import socket
from contextlib import suppress
from urllib.parse import urlsplit

_PATIENCE = 5.0  # seconds


def is_ready(url: str) -> bool:
    """Whether the answer at an http:// URL is 200; nobody there is a no."""
    parts = urlsplit(url)
    request = f"GET {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n\r\n"
    with suppress(OSError), socket.create_connection((parts.hostname, parts.port), _PATIENCE) as connection:
        connection.sendall(request.encode())
        status_line = connection.makefile("rb").readline().split()
        return status_line[1:2] == [b"200"]
    return False
