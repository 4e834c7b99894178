"""The time by which subscriptions change: the system's, or one that a test moves."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

# Answers the present moment, with its zone.
Clock: TypeAlias = Callable[[], datetime]


def system_clock() -> datetime:
    """Now."""
    return datetime.now(UTC)
