"""The veto of batches whose orders come together: one statement and one commit for several of an organization."""

from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database
from services.sending import message_figures
from services.sending.gathering import Gathering
from services.sending.suppression.veto import decide

# Of an organization: while the database decides on some, what came of others is written down.
_SETS = 2
# Eight batches of a campaign.
_MESSAGES_OF_A_SET = 2_000


def deciding_together(database: Database) -> Gathering[UUID]:
    """Decides on batches, each set in a transaction of its own."""

    async def decide_on(context: RequestContext, *batch_ids: UUID) -> None:
        async with database.tenant_transaction(context) as session:
            decided = await decide(session, *batch_ids)
        message_figures.count("decided", decided)

    return Gathering(decide_on, groups=_SETS, size=_MESSAGES_OF_A_SET)
