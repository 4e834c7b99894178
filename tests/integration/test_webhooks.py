"""Through the whole platform: an endpoint is made through the API, something happens, and it is posted there, signed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from deploy.demo.waiting import until
from tests.integration.tenants import Tenant, sign_up

Post = tuple[dict[str, str], bytes]


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[str, list[Post]]]:
    """A receiver on loopback, which this house allows: its URL, and what came."""
    posts: list[Post] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])
                }
                posts.append((headers, await reader.readexactly(int(headers["content-length"]))))
                writer.write(b"HTTP/1.1 204 Taken\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks", posts


@pytest.fixture
async def tenant(api: httpx.AsyncClient) -> Tenant:
    return await sign_up(api)


async def test_what_happens_is_posted_signed_and_shown_with_its_attempt(tenant: Tenant) -> None:
    async with receiving() as (url, posts):
        endpoint = await tenant.owner.post(
            "/v1/webhook-endpoints", {"url": url, "event_types": ["contact.created"]}
        )
        contact = await tenant.key.post("/v1/contacts", {"email": "ada@example.test"})

        async def arrived() -> list[Post]:
            return posts

        ((headers, body),) = await until(arrived, bool, seconds=20)
        event = Webhook(endpoint["secret"]).verify(body, headers)
        assert (event["type"], event["data"]["contact"]["id"]) == ("contact.created", contact["id"])
        assert headers["x-flownurture-signature"].startswith("t=")

        async def delivered() -> list[dict[str, object]]:
            listed = await tenant.owner.get(f"/v1/webhook-endpoints/{endpoint['id']}/deliveries")
            found: list[dict[str, object]] = listed["deliveries"]
            return [each for each in found if each["status"] == "delivered"]

        (delivery,) = await until(delivered, bool, seconds=20)
        assert delivery["attempt_count"] == 1
        assert endpoint["secret"] not in str(
            await tenant.owner.get(f"/v1/webhook-endpoints/{endpoint['id']}")
        )
