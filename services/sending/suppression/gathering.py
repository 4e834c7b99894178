"""Batches whose orders come at the same time are decided on together: one statement and one commit for all of them.

An organization's first go at once. Those that come while they are decided on wait, and are decided on next, together: the longer a
commit takes, the more share it. Nobody waits for company.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database
from services.sending.suppression.veto import decide

_MOST_TOGETHER = 8
# Of one organization: while the database decides on some, what came of others is written down.
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class _Order:
    batch_id: UUID
    done: "asyncio.Future[None]"


@dataclass(slots=True)
class _Orders:
    waiting: deque[_Order] = field(default_factory=deque)
    running: int = 0


class Gathering:
    """Decides on the batches of all organizations, those of each together."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._orders: dict[UUID, _Orders] = {}

    async def decide(self, context: RequestContext, batch_id: UUID) -> None:
        """Return once the decision has committed; raises what it failed of."""
        order = _Order(batch_id, asyncio.get_running_loop().create_future())
        orders = self._orders.setdefault(context.organization, _Orders())
        orders.waiting.append(order)
        if orders.running < _AT_ONCE:
            await self._work_off(context, orders)
        await order.done

    async def _work_off(self, context: RequestContext, orders: _Orders) -> None:
        """Decide on what waits, whoever brought it, until nothing does."""
        orders.running += 1
        try:
            while orders.waiting:
                size = min(len(orders.waiting), _MOST_TOGETHER)
                await self._decide_together(context, [orders.waiting.popleft() for _ in range(size)])
        finally:
            orders.running -= 1
            if not orders.running:
                # Only who is cancelled leaves somebody: their orders come again.
                for left in orders.waiting:
                    left.done.cancel()
                del self._orders[context.organization]

    async def _decide_together(self, context: RequestContext, orders: Sequence[_Order]) -> None:
        try:
            async with self._database.tenant_transaction(context) as session:
                await decide(session, *(order.batch_id for order in orders))
        except Exception as failure:
            if len(orders) == 1:
                orders[0].done.set_exception(failure)
                return
            # One of them may be at fault: it alone fails.
            for order in orders:
                await self._decide_together(context, [order])
        except BaseException:
            for order in orders:
                order.done.cancel()
            raise
        else:
            for order in orders:
                order.done.set_result(None)
