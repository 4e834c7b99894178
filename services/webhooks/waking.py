"""How whoever posts is told that there is something new."""

from collections.abc import Callable, Collection
from typing import TypeAlias
from uuid import UUID

# Has the endpoints of an organization looked at. What the caller has not committed yet is found within a second of it.
Wake: TypeAlias = Callable[[UUID, Collection[UUID]], None]
