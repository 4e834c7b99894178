"""Rounds of what works by the clock, as far as a test needs them."""

from services.sending.completion import Completion

_ENOUGH = 20


async def complete_all(completion: Completion) -> None:
    """Complete every campaign that can be. A round takes so many, and other tests' are among them."""
    for _ in range(_ENOUGH):
        if not await completion.round():
            return
