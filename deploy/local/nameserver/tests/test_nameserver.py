"""Names that were published are found over the wire; others are not."""

import asyncio
import json

import pytest
from dns.asyncresolver import Resolver
from dns.resolver import NXDOMAIN, NoAnswer

from deploy.local.nameserver.server import Nameserver, Publications


def resolver(nameserver: Nameserver) -> Resolver:
    host, _, port = nameserver.address.rpartition(":")
    made = Resolver(configure=False)
    made.nameservers, made.port, made.lifetime = [host], int(port), 2.0
    return made


async def test_what_is_published_is_found() -> None:
    async with Nameserver("127.0.0.1", 0) as nameserver:
        ask = resolver(nameserver).resolve
        long = 'v=DKIM1; p="' + "x" * 600
        nameserver.zone.publish("Shop.test", "TXT", [long, "other"])
        nameserver.zone.publish("bounce.shop.test", "CNAME", ["mail.test."])
        texts = [b"".join(record.strings).decode() for record in await ask("shop.test.", "TXT")]
        assert sorted(texts) == sorted([long, "other"])
        assert [str(record.target) for record in await ask("bounce.shop.test.", "CNAME")] == ["mail.test."]
        with pytest.raises(NoAnswer):
            await ask("shop.test.", "CNAME")
        with pytest.raises(NXDOMAIN):
            await ask("nobody.test.", "TXT")


async def test_anybody_publishes_by_http() -> None:
    async with Nameserver("127.0.0.1", 0) as nameserver:
        server = await Publications(nameserver.zone).serve("127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def post(body: bytes) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /records HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return (await reader.read()).partition(b"\r\n")[0]

        async with server:
            record = {"name": "shop.test", "type": "TXT", "values": ["v=spf1 -all"]}
            assert await post(json.dumps(record).encode()) == b"HTTP/1.1 204 No Content"
            assert await post(b"[]") == b"HTTP/1.1 422 Unprocessable Content"
            answer = await resolver(nameserver).resolve("shop.test.", "TXT")
            assert [record.strings for record in answer] == [(b"v=spf1 -all",)]
