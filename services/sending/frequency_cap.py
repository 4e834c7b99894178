"""The frequency cap: so many marketing mails to an address in so many days at most, of campaigns, workflows and single messages together.

A mail that is let go takes a place: a row that says no more than which message it is, and to whom. Whether the place counts the
message's own row tells: as long as it is on its way, and from when it was sent for so many days. So whatever vetoes a message or finds
that it failed gives its place back without knowing of it, and what waits for days counts from when it goes.

Whoever decides holds the organization's policy first, so that two never take the last place of an address, and changing the policy
waits for them. Where there is no cap nothing is held and nothing written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import namedtuple_row
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.scheduler import Scheduler

MOST_MESSAGES = 100
MOST_DAYS = 90

_EVERY = timedelta(minutes=1)
_MOST_IN_A_SET = 5_000

# A statement of its own, before the one that decides: that one then sees what whoever held it before has written.
HOLD_CAP = "SELECT FROM sending_policies WHERE cap_messages IS NOT NULL FOR NO KEY UPDATE"

# Parts of a statement that decides, as the driver takes it.
CAP = """
    cap AS MATERIALIZED (
        SELECT cap_messages AS messages, cap_days * interval '24 hours' AS span FROM sending_policies
        WHERE cap_messages IS NOT NULL
    )
"""


def taken(moment: str, deciding: str) -> str:
    """A query for when each place of the address of `wanted` was taken, of those that count at a moment by the `cap`.

    `deciding` selects the messages that are being decided on: their places are not looked at.
    """
    return f"""
        SELECT coalesce(message.settled_at, {moment}) AS at
        FROM frequency_places AS place LEFT JOIN messages AS message ON message.id = place.message_id
        WHERE place.email_digest = wanted.email_digest AND place.message_id NOT IN ({deciding}) AND (
            message.status IN ('queued', 'deferred')
            OR message.status IN ('sent', 'delivered', 'indeterminate') AND message.settled_at > {moment} - cap.span
            -- It is made later in the transaction that took the place.
            OR message.id IS NULL AND place.taken_at > {moment} - cap.span
        )
    """  # noqa: S608 - of our own words alone


_TAKE = f"""
    WITH {CAP}, wanted AS (
        SELECT id, email_digest, row_number() OVER (PARTITION BY email_digest ORDER BY number) AS number
        FROM unnest(%(ids)s::uuid[], %(digests)s::bytea[]) WITH ORDINALITY AS given (id, email_digest, number)
    ), decided AS MATERIALIZED (
        SELECT wanted.id, wanted.email_digest, CASE
            WHEN wanted.number + coalesce(cardinality(places.times), 0) > cap.messages THEN cap.span + coalesce(
                -- When the one before whose time is over there is room for this one, too.
                places.times[greatest(1, cap.messages + 1 - wanted.number)], %(moment)s::timestamptz
            ) END AS free_at
        FROM cap CROSS JOIN wanted CROSS JOIN LATERAL (
            SELECT array_agg(at ORDER BY at DESC) AS times
            FROM ({taken("%(moment)s::timestamptz", "SELECT unnest(%(ids)s::uuid[])")}) AS taken
        ) AS places
    ), placed AS (
        INSERT INTO frequency_places (email_digest, message_id, taken_at)
        SELECT email_digest, id, %(moment)s FROM decided WHERE free_at IS NULL
        ON CONFLICT DO NOTHING
    )
    SELECT id, free_at FROM decided WHERE free_at IS NOT NULL
"""  # noqa: S608

_GIVE_BACK = text("DELETE FROM frequency_places WHERE message_id = ANY(CAST(:message_ids AS uuid[]))")
_FORGET = text("DELETE FROM frequency_places WHERE email_digest = ANY(CAST(:digests AS bytea[]))")

# For the scheduler's role.
_ORGANIZATIONS_TO_LOOK_AT = text("""
    SELECT organization_id, organization_id AS id FROM sending.sending_policies
    WHERE next_look_at <= now() ORDER BY next_look_at LIMIT 16
""")
# No cap spans more days. Of what has been on its way for longer the place still counts.
_FORGET_OLD = text("""
    DELETE FROM frequency_places WHERE (email_digest, message_id) IN (
        SELECT place.email_digest, place.message_id
        FROM frequency_places AS place LEFT JOIN messages AS message ON message.id = place.message_id
        WHERE place.taken_at < now() - CAST(:kept AS interval)
          AND (message.id IS NULL OR message.settled_at < now() - CAST(:kept AS interval))
        ORDER BY place.taken_at LIMIT :most
    )
""")
_LOOKED = text("UPDATE sending_policies SET next_look_at = now() + interval '1 day'")


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """So many messages to an address in any so many days."""

    messages: int
    days: int


async def take_places(
    session: TenantSession, cap: FrequencyCap | None, wanted: Mapping[UUID, bytes], moment: datetime
) -> Mapping[UUID, datetime]:
    """Take a place for each message, by its id and its address' digest, in their order, in the transaction that makes them.

    Answers those that get none, and when there will be one for each at the earliest, as things are; they must not be made. The
    others have taken theirs. It is the cap in force that decides: `cap` is what the caller knows of it, and None costs nothing. Comes
    before the plan's e-mails are counted (`usage.take`), or two may wait for each other.
    """
    if cap is None or not wanted:
        return {}
    given = {"ids": list(wanted), "digests": list(wanted.values()), "moment": moment}
    decided = session.driver.cursor(row_factory=namedtuple_row)
    # One after the other, in one round trip.
    async with session.driver.pipeline():
        await session.driver.execute(HOLD_CAP)
        await decided.execute(_TAKE, given)
    rows: list[Any] = await decided.fetchall()
    return {row.id: row.free_at for row in rows}


async def give_places_back(session: TenantSession, message_ids: Sequence[UUID]) -> None:
    """Give those back that were taken in this transaction for messages that are not made after all."""
    await session.execute(_GIVE_BACK, {"message_ids": list(message_ids)})


async def forget_places(session: TenantSession, digests: Sequence[bytes]) -> None:
    """Forget that there was mail to these addresses."""
    await session.execute(_FORGET, {"digests": list(digests)})


class PlaceRetention:
    """Forgets places that count by no cap any more, in sets, once a day."""

    def __init__(
        self, database: Database, scheduler: RoleDatabase, *, most_in_a_set: int = _MOST_IN_A_SET
    ) -> None:
        self._database = database
        self._most = most_in_a_set
        self._scheduler = Scheduler(
            scheduler, _ORGANIZATIONS_TO_LOOK_AT, _EVERY, self._look_at, process="sending"
        )

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def round(self) -> int:
        """Look once at every organization whose time has come; answers how many there were."""
        return await self._scheduler.round()

    async def _look_at(self, context: RequestContext, _: object) -> None:
        gone = self._most
        while gone == self._most:
            async with self._database.tenant_transaction(context) as session:
                old = {"kept": timedelta(days=MOST_DAYS), "most": self._most}
                gone = (await session.execute(_FORGET_OLD, old)).rowcount
        async with self._database.tenant_transaction(context) as session:
            await session.execute(_LOOKED)
