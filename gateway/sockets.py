"""The sockets of this process, for what the HTTP server cannot do: end a response badly, and tell whether anybody is connected.

A chunked response whose sender stops is ended well by the server, and looks whole. Whoever takes a file must see that it broke off.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from stat import S_ISSOCK

_DESCRIPTORS = "/proc/self/fd"


def break_off(client: str) -> None:
    """Shut down the connection from a client (host:port), at once and without a proper end."""
    host, _, port = client.rpartition(":")
    peer = (host.strip("[]"), int(port))
    for connection in _connections():
        with suppress(OSError):
            if connection.getpeername()[:2] == peer:
                connection.shutdown(socket.SHUT_RDWR)


def is_connected_at(port: int) -> bool:
    """Whether anybody has a connection to a port of this process."""
    return any(connection.getsockname()[1] == port for connection in _connections())


def _connections() -> Iterator[socket.socket]:
    """A handle of each connection that somebody is at the other end of."""
    for descriptor in map(int, os.listdir(_DESCRIPTORS)):
        with suppress(OSError):
            if S_ISSOCK(os.fstat(descriptor).st_mode):
                with socket.socket(fileno=os.dup(descriptor)) as connection:
                    if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.getpeername():
                        yield connection
