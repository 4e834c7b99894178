"""Ready-made workflows: documents as data, which an organization copies and makes its own.

Each file holds a title, a description, what it needs to be told, and a document in which `$list_id` stands for what it is told.
Where `$website` stands within a text, that is HTML.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any
from uuid import UUID

from chassis.errors import FieldViolation, InvalidRequest, NotFound
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.workflows.versions import parse_document

# In the order in which they are shown.
_NAMES = ("welcome", "double-opt-in-follow-up", "re-engagement", "post-purchase", "birthday")
_SENDER = {"from_email": "The address from which its mails come."}
# What stands in a document that is shown where its copy has what is told.
_SHOWN = {
    "from_email": "you@example.com",
    **dict.fromkeys(("list_id", "tag_id", "segment_id"), "00000000-0000-0000-0000-000000000000"),
    "custom_field": "birthday",
    "website": "https://example.com/",
}
_WITHIN = re.compile(r"\$([a-z_]+)")
# What may be left out.
_OPTIONAL = {"from_name"}


@dataclass(frozen=True, slots=True)
class ReadyMade:
    """A workflow to be copied."""

    name: str
    title: str
    description: str
    # What it must be told, by the name of the field, and what that is.
    needs: Mapping[str, str]
    # As JSON by the contract's own names, with `$` and the name of a field where that is to stand.
    document: Mapping[str, Any]

    @property
    def id(self) -> UUID:
        """By which they come in pages."""
        return UUID(int=_NAMES.index(self.name) + 1)

    @property
    def shown(self) -> pb.WorkflowDocument:
        """The document with something that stands for what it needs."""
        return parse_document(_filled(self.document, _SHOWN))

    def filled(self, given: Mapping[str, str]) -> pb.WorkflowDocument:
        """The document with what is given. Raises InvalidRequest for what is missing, and for what it has no place for."""
        wrong = [
            FieldViolation(field, f"must be given: {told}")
            for field, told in self.needs.items()
            if not given.get(field)
        ]
        wrong += (
            FieldViolation(field, "is nothing that this workflow needs")
            for field, value in given.items()
            if value and field not in self.needs and field not in _OPTIONAL
        )
        if wrong:
            raise InvalidRequest(*wrong)
        return parse_document(_filled(self.document, given))


def page_ready_made(*, after: UUID | None, size: int) -> Sequence[ReadyMade]:
    """Up to `size` of them, behind `after`."""
    found = [each for each in _all() if after is None or each.id > after]
    return found[:size]


def get_ready_made(name: str) -> ReadyMade:
    """The one of that name. Raises NotFound."""
    for each in _all():
        if each.name == name:
            return each
    raise NotFound(f"ready-made workflow as {name}")


@cache
def _all() -> Sequence[ReadyMade]:
    return [_read(name) for name in _NAMES]


def _read(name: str) -> ReadyMade:
    written = json.loads(files(__package__).joinpath(f"{name.replace('-', '_')}.json").read_text("utf-8"))
    return ReadyMade(
        name, written["title"], written["description"], {**_SENDER, **written["needs"]}, written["document"]
    )


def _filled(part: Any, given: Mapping[str, str]) -> Any:
    match part:
        case dict():
            return {name: _filled(member, given) for name, member in part.items()}
        case list():
            return [_filled(member, given) for member in part]
        case str() if part.startswith("$"):
            return given.get(part.removeprefix("$"), "")
        case str():
            return _WITHIN.sub(lambda place: escape(given.get(place[1], "")), part)
        case _:
            return part
