"""The sockets of this process, for the one thing that the HTTP server cannot do: end a response badly.

A chunked response whose sender stops is ended well by the server, and looks whole. Whoever takes a file must see that it broke off.
"""

import os
import socket
from contextlib import suppress
from stat import S_ISSOCK

_DESCRIPTORS = "/proc/self/fd"


def break_off(client: str) -> None:
    """Shut down the connection from a client (host:port), at once and without a proper end."""
    host, _, port = client.rpartition(":")
    peer = (host.strip("[]"), int(port))
    for descriptor in map(int, os.listdir(_DESCRIPTORS)):
        with suppress(OSError):
            if S_ISSOCK(os.fstat(descriptor).st_mode):
                _shut_down_if(descriptor, peer)


def _shut_down_if(descriptor: int, peer: tuple[str, int]) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.getpeername()[:2] == peer:
            connection.shutdown(socket.SHUT_RDWR)
