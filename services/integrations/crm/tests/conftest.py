from collections.abc import AsyncIterator

import pytest_asyncio

from services.integrations.crm.http_client import HttpClient


@pytest_asyncio.fixture(scope="module")
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client
