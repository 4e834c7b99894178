"""Organizations that stand still, since they are to be erased: nothing of them goes out, and what waits goes on when that is taken back.

Whoever sends anything looks at the row as it takes what it sends, so nothing that is made meanwhile gets past.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime

from google.protobuf.message import Message
from sqlalchemy import text

from chassis.consumer import Handler, Inbox
from chassis.context import RequestContext
from chassis.database import TenantSession

# In SQL, of the organization that the session is in.
STANDS_STILL = "EXISTS (SELECT FROM standstills WHERE stands_still)"

# The latest word holds, in whatever order they come.
_SAY = text("""
    INSERT INTO standstills AS said (stands_still, said_at) VALUES (:stands_still, :said_at)
    ON CONFLICT (organization_id) DO UPDATE SET stands_still = excluded.stands_still, said_at = excluded.said_at
    WHERE said.said_at < excluded.said_at
""")


async def say(session: TenantSession, stands_still: bool, said_at: datetime) -> bool:
    """Let the context's organization stand still or go on; whether that was the latest word."""
    said = await session.execute(_SAY, {"stands_still": stands_still, "said_at": said_at})
    return said.rowcount == 1


def standing_still(
    stands_still: bool, act: Callable[[TenantSession], Awaitable[None]] | None = None
) -> Handler:
    """A handler of an event by which an organization stands still, or goes on; with what else is done then, in the same transaction."""

    async def handle(_: Message, context: RequestContext, inbox: Inbox) -> None:
        async with inbox.database.tenant_transaction(context) as session:
            # Repeated, it is not later than itself.
            if await say(session, stands_still, inbox.occurred_at) and act is not None:
                await act(session)

    return handle
