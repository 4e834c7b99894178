"""Ports to listen on that no connection takes meanwhile."""

import socket
from random import SystemRandom

# Below those that Linux gives to outgoing connections (ip_local_port_range), of which the measured processes make many.
_FIRST, _LAST = 20_000, 32_000
_random = SystemRandom()


def unused_port() -> int:
    """One that nobody listens on now."""
    while True:
        candidate = _random.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", candidate)) != 0:
                return candidate
