"""A lane leaves nothing lying, at whatever moment it comes."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime
from uuid import UUID

from chassis.identifiers import new_id
from chassis.tests.deadlines import until
from services.webhooks.dispatch.lane import Lane, Surroundings
from services.webhooks.dispatch.parcels import Attempt, Entry, Parcel
from services.webhooks.dispatch.targets import Target

ORGANIZATION, ENDPOINT = new_id(), new_id()
# Turns of the event loop, more than it takes a lane to find that nothing is left.
TURNS = 30


def parcel() -> Parcel:
    return Parcel(new_id(), new_id(), "contact.created", b"{}", 1, datetime.now(UTC))


def target() -> Target:
    return Target(
        endpoint_id=ENDPOINT,
        url="https://shop.example/hooks",
        enabled=True,
        api_version="",
        secrets=(),
        signing_keys=(),
        headers=(),
        message_signatures=False,
        rate_limit=None,
        paused_until=None,
        previous_secret_until=None,
        stands_still=False,
    )


class Street:
    """What is around a lane: an endpoint that takes everything at once, and a journal that writes at once."""

    def __init__(self) -> None:
        self.posted: list[UUID] = []
        self.lane = Lane(
            ORGANIZATION,
            ENDPOINT,
            Surroundings(
                target=self._target,
                due=self._due,
                record=self._record,
                may_go=lambda _: True,
                posting=lambda _: self,
            ),
        )

    async def __call__(self, parcel: Parcel, target: Target) -> Attempt:
        self.posted.append(parcel.delivery_id)
        return Attempt(new_id(), datetime.now(UTC), "delivered", 1, status_code=200)

    def close(self) -> None:
        pass

    async def _target(self, organization_id: UUID, endpoint_id: UUID) -> Target:
        return target()

    async def _due(
        self, organization_id: UUID, endpoint_id: UUID, in_hand: Collection[UUID], most: int
    ) -> tuple[list[Parcel], bool]:
        return [], False

    def _record(self, organization_id: UUID, entry: Entry) -> None:
        asyncio.get_running_loop().call_soon(self.lane.recorded, entry.delivery_id)

    async def takes_one(self) -> None:
        """One is offered, and posted."""
        number = len(self.posted) + 1
        self.lane.offer([parcel()], 1)
        await until(lambda: len(self.posted) == number, pause=0)


async def test_what_comes_as_a_lane_is_about_to_rest_is_posted() -> None:
    street = Street()
    for turns in range(TURNS):
        await street.takes_one()
        for _ in range(turns):
            await asyncio.sleep(0)
        await street.takes_one()
        await until(lambda: street.lane.is_idle, pause=0)
