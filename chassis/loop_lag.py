"""How late the event loop is: the first thing that shows when a process has more to do than it can, or something blocks it."""

import asyncio
from time import monotonic

from chassis.metrics import LOOP_LAG

_EVERY_SECONDS = 1.0


class LoopLag:
    """Looks each second how much later than it wanted it came to its turn."""

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            due = monotonic() + _EVERY_SECONDS
            await asyncio.sleep(_EVERY_SECONDS)
            LOOP_LAG.observe(max(0.0, monotonic() - due))
