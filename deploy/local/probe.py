"""Whether something answers that it is ready: GET /readyz, with no more of HTTP than that takes."""

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

_PATIENCE = 5.0  # seconds


async def is_ready(url: str) -> bool:
    """Whether the answer at an http:// URL is 200; nobody there is a no."""
    return await _status(url) == 200


async def _status(url: str) -> int:
    parts = urlsplit(url)
    request = f"GET {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n\r\n"
    with suppress(OSError, TimeoutError, ValueError, IndexError):
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(request.encode())
                status_line = await reader.readline()
            finally:
                writer.close()
            return int(status_line.split()[1])
    return 0
