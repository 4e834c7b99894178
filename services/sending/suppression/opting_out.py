"""Opting out: those of an organization who do so at the same time are put on the list in one commit, each before their own answer."""

from chassis.context import RequestContext
from chassis.database import Database
from services.sending.gathering import Gathering
from services.sending.suppression.suppressions import opt_out
from services.sending.unsubscribe_links import OptOut

# Of an organization: while one is committed, the next is written.
_SETS = 2
_PEOPLE_OF_A_SET = 100


def opting_out_together(database: Database) -> Gathering[OptOut]:
    """Puts whoever opts out on the list, each set in a transaction of its own; in force once that is done."""

    async def put_on_list(context: RequestContext, *opt_outs: OptOut) -> None:
        async with database.tenant_transaction(context) as session:
            await opt_out(session, *opt_outs)

    return Gathering(put_on_list, groups=_SETS, size=_PEOPLE_OF_A_SET)
