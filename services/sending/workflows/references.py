"""What a document names that lives elsewhere: lists, tags, templates, … and rules. Whether they are there, others are asked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from flownurture.contacts.v1.segments_pb2 import Rule
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.workflows.parts import parts


class Named(StrEnum):
    """What kind of thing is named, by the field that names it."""

    FORM = "form_id"
    LIST = "list_id"
    TAG = "tag_id"
    SEGMENT = "segment_id"
    CAMPAIGN = "campaign_id"
    TEMPLATE = "template_id"
    ENDPOINT = "endpoint_id"
    MEMBER = "user_id"
    CUSTOM_FIELD = "custom_field"


@dataclass(frozen=True, slots=True)
class Reference:
    """One thing that a document names: by its id, a custom field by its key; and the path of the field that does."""

    path: str
    kind: Named
    name: str


_KINDS: Mapping[str, Named] = {kind.value: kind for kind in Named}


def references(document: pb.WorkflowDocument) -> Iterator[Reference]:
    """All that it names outside of its rules, as it is written from first to last."""
    for path, part in parts(document):
        for field, value in part.ListFields():
            kind = _KINDS.get(field.name)
            if kind is not None:
                yield Reference(f"{path}.{field.name}", kind, value)


def rules(document: pb.WorkflowDocument) -> Iterator[tuple[str, Rule]]:
    """Its rules with their paths; contacts says whether they are well, and what the plan must have for them."""
    for path, part in parts(document):
        for field, value in part.ListFields():
            if isinstance(value, Rule):
                yield f"{path}.{field.name}", value
