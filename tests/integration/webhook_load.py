"""Organizations with endpoints, well and ill, what is posted to them at the house, and blows that fall meanwhile."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import uuid4

import httpx
import psycopg

from deploy.demo.client import UnexpectedAnswer
from deploy.demo.waiting import until
from tests.integration.house import House
from tests.integration.second_processes import SecondProcess
from tests.integration.tenants import Tenant
from tests.integration.webhook_receivers import Health, Receiver

# The house's process, and the one beside it.
FIRST, SECOND = "webhooks", "second webhooks"
PATIENCE_SECONDS = 120

_WRITTEN = "SELECT count(*) FROM webhooks.attempts WHERE organization_id = ANY(%s::uuid[])"


@dataclass(slots=True)
class Shop:
    """An organization with its endpoints, by id."""

    tenant: Tenant
    endpoints: Mapping[str, Receiver]

    @property
    def well(self) -> list[Receiver]:
        """The endpoints that take everything at once."""
        return [each for each in self.endpoints.values() if each.health is Health.WELL]

    async def import_some(self, number: int) -> None:
        """Have contacts imported; again, where nobody can tell whether they will be."""
        run = uuid4().hex
        content = "\n".join(("email", *(f"reader{place}.{run}@example.test" for place in range(number))))

        async def is_accepted() -> bool:
            with suppress(httpx.TransportError, UnexpectedAnswer):
                await self.tenant.key.upload("/v1/contacts/imports", "{}", "people.csv", content.encode())
                return True
            return False

        assert await until(is_accepted, bool, seconds=PATIENCE_SECONDS)

    async def newcomer(self) -> str:
        """One contact more; answers who."""
        created = await self.tenant.key.post("/v1/contacts", {"email": f"{uuid4().hex}@example.test"})
        return str(created["id"])


@dataclass(slots=True)
class Load:
    """What goes on. `in_doubt` counts the posts of which nothing was written down when a webhooks process was last killed."""

    house: House
    second: SecondProcess
    shops: list[Shop]
    in_doubt: int = 0
    longest_wait: float = 0.0
    _dead: int = 0

    @property
    def organization_ids(self) -> list[str]:
        """Whose it is."""
        return [shop.tenant.organization_id for shop in self.shops]

    @property
    def receivers(self) -> list[Receiver]:
        """All endpoints."""
        return [each for shop in self.shops for each in shop.endpoints.values()]

    @property
    def posts(self) -> int:
        """How many came to endpoints that are well."""
        return sum(each.posts for shop in self.shops for each in shop.well)

    async def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What the database has."""
        async with await psycopg.AsyncConnection.connect(self.house.facts["database_url"]) as connection:
            return await (await connection.execute(statement, values)).fetchall()

    async def import_some(self, number: int) -> None:
        """For each organization."""
        await asyncio.gather(*(shop.import_some(number) for shop in self.shops))

    async def reaches(self, posts: int) -> None:
        """Return when so many have come, and answers are waited for."""

        async def flows() -> bool:
            return self.posts >= posts and any(each.under_way for shop in self.shops for each in shop.well)

        assert await until(flows, bool, seconds=PATIENCE_SECONDS, pause=0.002)

    async def be_hit(self, part: str) -> None:
        """Kill a part."""
        if part == SECOND:
            await self.second.kill()
        else:
            self._dead = self.house.kill(part)
        if part in (FIRST, SECOND):
            ((written,),) = await self.rows(_WRITTEN, self.organization_ids)
            self.in_doubt = sum(each.posts for each in self.receivers) - written

    async def be_mended(self, part: str) -> None:
        """Return when a part that was killed runs again; the house starts its own anew by itself."""

        async def is_back() -> bool:
            return self.house.pid(part) not in (None, self._dead) and await asyncio.to_thread(
                self.house.is_whole
            )

        if part == SECOND:
            await self.second.start()
        else:
            assert await until(is_back, bool, seconds=PATIENCE_SECONDS)

    async def goes_on(self) -> None:
        """Return when every endpoint that is well was told of somebody who comes now."""
        begun = monotonic()
        newcomers = await asyncio.gather(*(shop.newcomer() for shop in self.shops))

        async def starving() -> list[str]:
            told = zip(self.shops, newcomers, strict=True)
            return [each.url for shop, one in told for each in shop.well if one not in each.told_of]

        assert not await until(starving, lambda seen: not seen, seconds=PATIENCE_SECONDS, pause=0.01)
        self.longest_wait = max(self.longest_wait, monotonic() - begun)
