"""Whom a campaign reaches, as its sender asks for it."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from chassis.context import RequestContext


@dataclass(frozen=True, slots=True)
class Selection:
    """Whoever is in any of these; tags are told by their names."""

    list_ids: tuple[UUID, ...] = ()
    segment_ids: tuple[UUID, ...] = ()
    tags: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.list_ids or self.segment_ids or self.tags)


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is in the one and not in the other."""

    include: Selection
    exclude: Selection = field(default_factory=Selection)

    @classmethod
    def parse(cls, kept: Mapping[str, Any]) -> "Audience":
        """As `kept` tells it."""
        return cls(_parse_selection(kept["include"]), _parse_selection(kept["exclude"]))

    @property
    def kept(self) -> Mapping[str, Any]:
        """In the form in which a campaign keeps it, of what JSON has."""
        return {"include": _keep_selection(self.include), "exclude": _keep_selection(self.exclude)}


@dataclass(frozen=True, slots=True)
class Recipient:
    """A contact, where mail reaches it, the digest of that, and what mail may say of it."""

    contact_id: UUID
    email: str
    digest: bytes
    first_name: str = ""
    last_name: str = ""
    custom_fields: Mapping[str, object] = field(default_factory=dict)


def parse_fields(told: str) -> Mapping[str, object]:
    """Custom fields by key, of a JSON object; a whole number without a fraction, as people write it."""
    known: Mapping[str, object] = json.loads(told, parse_float=_number)
    return known


class Recipients(Protocol):
    """Where recipients come from."""

    def stream(
        self,
        context: RequestContext,
        audience: Audience,
        *,
        custom_fields: Sequence[str],
        after: UUID | None,
        size: int,
    ) -> AsyncGenerator[Sequence[Recipient], None]:
        """Batches of up to `size` by ascending id, behind `after`, none of them empty; with these custom fields, by key.

        Raises NotFound when a list, segment or tag does not exist, Unavailable.
        """


def _parse_selection(kept: Mapping[str, Any]) -> Selection:
    return Selection(
        tuple(map(UUID, kept["list_ids"])), tuple(map(UUID, kept["segment_ids"])), tuple(kept["tags"])
    )


def _keep_selection(selection: Selection) -> Mapping[str, Any]:
    return {
        "list_ids": list(map(str, selection.list_ids)),
        "segment_ids": list(map(str, selection.segment_ids)),
        "tags": list(selection.tags),
    }


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number
