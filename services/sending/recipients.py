"""Whom a campaign reaches, as its sender asks for it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from chassis.context import RequestContext


@dataclass(frozen=True, slots=True)
class Recipient:
    """A contact, where mail reaches it, and the digest of that."""

    contact_id: UUID
    email: str
    digest: bytes


class Recipients(Protocol):
    """Where recipients come from."""

    def stream(
        self, context: RequestContext, list_ids: Sequence[UUID], *, after: UUID | None, size: int
    ) -> AsyncGenerator[Sequence[Recipient], None]:
        """Batches of up to `size` by ascending id, behind `after`, none of them empty.

        Raises NotFound when a list does not exist, Unavailable.
        """
