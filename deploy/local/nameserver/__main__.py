"""`python -m deploy.local.nameserver serve`: answers by UDP at NAMESERVER_LISTEN, takes publications at NAMESERVER_HTTP_LISTEN."""

import asyncio
import os

from deploy.local.nameserver.server import Nameserver, Publications


async def serve() -> None:
    """Run until told to stop."""
    host, _, port = os.environ["NAMESERVER_LISTEN"].rpartition(":")
    http_host, _, http_port = os.environ["NAMESERVER_HTTP_LISTEN"].rpartition(":")
    async with Nameserver(host, int(port)) as nameserver:
        server = await Publications(nameserver.zone).serve(http_host, int(http_port))
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        raise SystemExit(0) from None
