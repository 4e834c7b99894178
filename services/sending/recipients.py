"""Whom a campaign reaches, as its sender asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from chassis.context import RequestContext


@dataclass(frozen=True, slots=True)
class Recipient:
    """A contact and where mail reaches it."""

    contact_id: UUID
    email: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some recipients by ascending id. A page that is not the last one is not empty."""

    recipients: Sequence[Recipient]
    last: bool


class Recipients(Protocol):
    """Where recipients come from."""

    async def page(
        self, context: RequestContext, list_ids: Sequence[UUID], *, after: UUID | None, size: int
    ) -> Page:
        """The next page behind `after`. Raises NotFound when a list does not exist, Unavailable."""
