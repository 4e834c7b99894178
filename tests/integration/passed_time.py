"""Time that passes for one contact at the house: what happened to them lies longer ago, and what they wait for is nearer.

No clock is touched, and nobody else's time passes.
"""

from datetime import timedelta

import psycopg

from tests.integration.house import House

_SHIFTS = (
    """
    UPDATE sending.enrollment_places SET since = since - %(span)s, wake_at = wake_at - %(span)s
    WHERE enrollment_id IN (SELECT id FROM sending.enrollments WHERE contact_id = %(contact_id)s)
    """,
    """
    UPDATE sending.enrollment_trace SET at = at - %(span)s
    WHERE enrollment_id IN (SELECT id FROM sending.enrollments WHERE contact_id = %(contact_id)s)
    """,
    "UPDATE sending.enrollments SET began_at = began_at - %(span)s, ended_at = ended_at - %(span)s WHERE contact_id = %(contact_id)s",
    "UPDATE sending.messages SET settled_at = settled_at - %(span)s WHERE contact_id = %(contact_id)s",
)


async def let_time_pass(house: House, contact_id: str, span: timedelta) -> None:
    """Let so much time pass for a contact."""
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"]) as connection:
        for shift in _SHIFTS:
            await connection.execute(shift, {"span": span, "contact_id": contact_id})


async def is_handed_over(house: House, contact_id: str) -> bool:
    """Whether all mail to a contact is handed over, and the house knows that."""
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"]) as connection:
        found = await connection.execute(
            "SELECT count(*) FROM sending.messages WHERE contact_id = %s AND settled_at IS NULL",
            (contact_id,),
        )
        return await found.fetchone() == (0,)


async def look_into_segments(house: House, organization_id: str) -> None:
    """Let the minute be over after which watched segments are looked into again."""
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"]) as connection:
        await connection.execute(
            "UPDATE contacts.segment_watches SET next_look_at = now() WHERE organization_id = %s",
            (organization_id,),
        )


async def look_for_dates_since(house: House, workflow_id: str, span: timedelta) -> None:
    """Let the dates of the time before now be looked for that a workflow begins with."""
    async with await psycopg.AsyncConnection.connect(house.facts["database_url"]) as connection:
        await connection.execute(
            "UPDATE sending.workflow_occasions SET looked_until = now() - %s WHERE workflow_id = %s",
            (span, workflow_id),
        )
