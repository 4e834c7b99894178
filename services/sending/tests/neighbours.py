"""The contacts that workflows ask about, held in memory: rules are answered, and changes carried out, as the contacts service would."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from google.protobuf import json_format

from chassis.context import RequestContext
from chassis.email_address import EmailAddress
from chassis.errors import Unavailable
from flownurture.contacts.v1.segments_pb2 import Rule
from flownurture.sending.v1.workflows_pb2 import DateField
from flownurture.workflows.v1.events_pb2 import ChangeContacts, ContactChange
from services.sending.recipients import Recipient
from services.sending.workflows.enrolling import Enrollee
from services.sending.workflows.events import field_name
from services.sending.workflows.people import (
    MOST_PEOPLE,
    MOST_RULES,
    Absent,
    Description,
    Occasion,
    Person,
    Question,
)


@dataclass
class Neighbour:
    """A contact."""

    email: str
    id: UUID = field(default_factory=uuid4)
    first_name: str = ""
    tags: set[str] = field(default_factory=set)
    lists: set[str] = field(default_factory=set)
    fields: dict[str, object] = field(default_factory=dict)
    zone: ZoneInfo | None = None

    @property
    def digest(self) -> bytes:
        return EmailAddress.parse(self.email).digest

    @property
    def enrollee(self) -> Enrollee:
        return Enrollee(self.id, self.digest)

    def fits(self, rule: Rule) -> bool:
        """Whether a rule fits, of those that tests use."""
        match _member(rule):
            case "tag":
                return rule.tag.tag_id in self.tags
            case "list":
                return rule.list.list_id in self.lists
            case "custom_field":
                return self.fields.get(rule.custom_field.key) == rule.custom_field.value.string_value
            case "not":
                return not self.fits(getattr(rule, "not"))
            case member:
                raise ValueError(f"tests use no rules of {member}")


def _member(rule: Rule) -> str:
    return next(given.name for given, _ in rule.ListFields())


class Neighbours:
    """Whom there is. Each change is carried out once, whatever is told twice."""

    def __init__(self) -> None:
        self._there: dict[UUID, Neighbour] = {}
        self._carried_out: set[UUID] = set()
        # What was done, by the ids of the effects, as often as it was.
        self.effects: list[UUID] = []
        self.down = False

    def add(self, *neighbours: Neighbour) -> None:
        """Let them be contacts."""
        self._there |= {each.id: each for each in neighbours}

    def remove(self, neighbour: Neighbour) -> None:
        """Erase a contact."""
        del self._there[neighbour.id]

    def present(self, contact_id: UUID) -> Neighbour | None:
        """The contact of that id, if there is one."""
        return self._there.get(contact_id)

    async def describe(
        self,
        context: RequestContext,
        questions: Sequence[Question],
        rules: Sequence[Rule],
        custom_fields: Iterable[str],
    ) -> Sequence[Description]:
        """As the contacts service answers."""
        if self.down:
            raise Unavailable
        assert len(questions) <= MOST_PEOPLE
        assert len(rules) <= MOST_RULES
        return [self._described(question, rules, set(custom_fields)) for question in questions]

    async def occasions(
        self, context: RequestContext, wanted: DateField, days: Mapping[date, frozenset[str]], size: int
    ) -> AsyncGenerator[Sequence[Occasion], None]:
        """Those whose field holds one of the days as it is written, by their clocks."""
        if self.down:
            raise Unavailable
        held = {day.isoformat(): zones for day, zones in days.items()}
        for there in sorted(self._there.values(), key=lambda each: each.id):
            zones = held.get(str(there.fields.get(wanted.custom_field)), frozenset())
            if (there.zone.key if there.zone else "") in zones:
                yield [Occasion(there.id, there.digest)]

    def carry_out(self, event_id: UUID, order: ChangeContacts) -> None:
        """An order, once. Raises Unavailable when what it comes after is not there yet."""
        if event_id in self._carried_out:
            return
        for change in order.changes:
            if change.after_change_id and UUID(bytes=change.after_change_id) not in self._carried_out:
                raise Unavailable
        for change in order.changes:
            self._change(change)
        self._carried_out.add(event_id)

    def _described(self, question: Question, rules: Sequence[Rule], wanted: set[str]) -> Description:
        if question.after_change_id is not None and question.after_change_id not in self._carried_out:
            return Absent.BEHIND
        there = self._there.get(question.contact_id)
        if there is None:
            return Absent.UNKNOWN
        known = {key: value for key, value in there.fields.items() if key in wanted}
        recipient = Recipient(there.id, there.email, there.digest, there.first_name, "", known)
        fitting = frozenset(index for index in question.rules if there.fits(rules[index]))
        return Person(recipient, there.zone, fitting)

    def _change(self, change: ContactChange) -> None:
        self.effects.append(UUID(bytes=change.effect_id))
        there = self._there.get(UUID(bytes=change.contact_id))
        if there is None:
            return
        match change.WhichOneof("change"):
            case "add_tag_id":
                there.tags.add(change.add_tag_id)
            case "remove_tag_id":
                there.tags.discard(change.remove_tag_id)
            case "add_to_list_id":
                there.lists.add(change.add_to_list_id)
            case "remove_from_list_id":
                there.lists.discard(change.remove_from_list_id)
            case _:
                name = field_name(change.set_field.field).removeprefix("custom_fields.")
                there.fields[name] = json_format.MessageToDict(change.set_field.value)
