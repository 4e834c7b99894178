"""The rules of segments: a document as it is written and kept, read into a tree of conditions that cannot be wrong any more.

A document has exactly one member: `all`, `any` or `not` hold rules again; `field`, `custom_field`, `list`, `tag` and
`engagement` are conditions. docs/segments.md describes the grammar.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

from chassis.contract.formats import is_text
from chassis.errors import FieldViolation, InvalidRequest
from services.contacts.custom_fields import CustomField, FieldType, parse_date
from services.contacts.statuses import Status

DEEPEST = 5
MOST_CONDITIONS = 100
# Of all rules that are looked at in one statement.
MOST_CONDITIONS_TOGETHER = 1_000
MOST_VALUES_TOGETHER = 10_000
MOST_DAYS = 36_500
_LONGEST_TEXT = 1_000
_MOST_VALUES = 100

Document: TypeAlias = Mapping[str, Any]


class Operator(StrEnum):
    """How a value is compared."""

    EQUALS = "equals"
    NOT_EQUALS = "not_equals"
    ONE_OF = "one_of"
    IS_SET = "is_set"
    IS_NOT_SET = "is_not_set"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    LESS_THAN = "less_than"
    AT_MOST = "at_most"
    GREATER_THAN = "greater_than"
    AT_LEAST = "at_least"
    BEFORE = "before"
    AFTER = "after"
    ON = "on"
    IN_LAST_DAYS = "in_last_days"
    IN_NEXT_DAYS = "in_next_days"
    MORE_THAN_DAYS_AGO = "more_than_days_ago"


class Kind(StrEnum):
    """What is compared, and so with which operators."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    MOMENT = "moment"
    CHOICE = "choice"


class ContactField(StrEnum):
    """What every contact has."""

    EMAIL = "email"
    FIRST_NAME = "first_name"
    LAST_NAME = "last_name"
    STATUS = "status"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    TIME_ZONE = "time_zone"


class Engagement(StrEnum):
    """What a contact did with mail, or got."""

    RECEIVED = "received"
    OPENED = "opened"
    CLICKED = "clicked"
    BOUNCED = "bounced"


@dataclass(frozen=True, slots=True)
class All:
    """Every one of these fits."""

    rules: tuple["Rule", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of these fits."""

    rules: tuple["Rule", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """This does not fit."""

    rule: "Rule"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field of the contact, or a custom field by its number, compared. Whoever has no value has none that compares."""

    subject: ContactField | int
    kind: Kind
    operator: Operator
    # A text, number, bool, date; a tuple of them for `one_of`; a number of days; None where nothing is compared with.
    operand: Any


@dataclass(frozen=True, slots=True)
class InList:
    """The contact is in the list."""

    list_id: UUID


@dataclass(frozen=True, slots=True)
class HasTag:
    """The contact has the tag."""

    tag_id: UUID


@dataclass(frozen=True, slots=True)
class Engaged:
    """The contact did something with mail: with one campaign or any; within so many days before now or ever (0)."""

    event: Engagement
    within_days: int
    campaign_id: UUID | None


@dataclass(frozen=True, slots=True)
class Nobody:
    """Fits no contact: what a condition on a deleted field becomes."""


Rule: TypeAlias = All | AnyOf | Not | Comparison | InList | HasTag | Engaged | Nobody

_SET = (Operator.IS_SET, Operator.IS_NOT_SET)
_EQUALITY = (Operator.EQUALS, Operator.NOT_EQUALS)
_DAYS = (Operator.IN_LAST_DAYS, Operator.IN_NEXT_DAYS, Operator.MORE_THAN_DAYS_AGO)
_CALENDAR = (Operator.BEFORE, Operator.AFTER, Operator.ON)
OPERATORS: Mapping[Kind, tuple[Operator, ...]] = {
    Kind.TEXT: (
        *_EQUALITY,
        Operator.ONE_OF,
        *_SET,
        Operator.CONTAINS,
        Operator.STARTS_WITH,
        Operator.ENDS_WITH,
    ),
    Kind.NUMBER: (
        *_EQUALITY,
        Operator.ONE_OF,
        *_SET,
        Operator.LESS_THAN,
        Operator.AT_MOST,
        Operator.GREATER_THAN,
        Operator.AT_LEAST,
    ),
    Kind.BOOLEAN: (*_EQUALITY, *_SET),
    Kind.DATE: (*_CALENDAR, *_SET, *_DAYS),
    Kind.MOMENT: (*_CALENDAR, Operator.IN_LAST_DAYS, Operator.MORE_THAN_DAYS_AGO),
    Kind.CHOICE: (*_EQUALITY, Operator.ONE_OF, *_SET),
}
_FIELD_KINDS = {
    ContactField.EMAIL: Kind.TEXT,
    ContactField.FIRST_NAME: Kind.TEXT,
    ContactField.LAST_NAME: Kind.TEXT,
    ContactField.STATUS: Kind.CHOICE,
    ContactField.CREATED_AT: Kind.MOMENT,
    ContactField.UPDATED_AT: Kind.MOMENT,
    ContactField.TIME_ZONE: Kind.TEXT,
}
_CUSTOM_KINDS = {kind: Kind(kind.value) for kind in FieldType}
_MEMBERS = ("all", "any", "not", "field", "custom_field", "list", "tag", "engagement")


def parse_rule(document: Document, fields: Mapping[str, CustomField], path: str = "rule") -> Rule:
    """The rule of a document that a client wrote. Raises InvalidRequest that names every field that is wrong."""
    reader = _Reader(fields)
    rule = reader.read(document, path, 1)
    if reader.conditions > MOST_CONDITIONS:
        reader.refuse(path, f"must have at most {MOST_CONDITIONS} conditions, and has {reader.conditions}")
    if reader.found:
        raise InvalidRequest(*reader.found)
    return rule


def kept(document: Document, fields: Mapping[str, CustomField]) -> dict[str, Any]:
    """The document as it is kept: with the numbers of custom fields, so that a later field of the same key is not meant."""
    (member,) = document
    content = document[member]
    if member in ("all", "any"):
        return {member: [kept(inner, fields) for inner in content]}
    if member == "not":
        return {member: kept(content, fields)}
    if member == "custom_field":
        return {member: {**content, "number": fields[content["key"]].number}}
    return {member: content}


def kept_rule(document: Document, fields: Mapping[str, CustomField]) -> Rule:
    """The rule of a document that was kept. A custom field that was deleted since has no values: its conditions fit nobody."""
    by_number = {field.number: field for field in fields.values()}
    (member,) = document
    content = document[member]
    if member in ("all", "any"):
        rules = tuple(kept_rule(inner, fields) for inner in content)
        return All(rules) if member == "all" else AnyOf(rules)
    if member == "not":
        return Not(kept_rule(content, fields))
    if member != "custom_field":
        return parse_rule(document, fields)
    field = by_number.get(content["number"])
    return Nobody() if field is None else parse_rule(document, {content["key"]: field})


def standing_rule(document: Document, fields: Mapping[str, CustomField]) -> Rule:
    """The rule of a document that was well when it was written. A condition that is so no longer fits nobody."""
    return _Reader(fields).read(document, "", 1)


def excess_of(rules: Iterable[Rule]) -> str | None:
    """Why these rules are too much for one statement, as the end of a sentence; None when they are not."""
    conditions = [condition for rule in rules for condition in conditions_of(rule)]
    if len(conditions) > MOST_CONDITIONS_TOGETHER:
        return f"may have at most {MOST_CONDITIONS_TOGETHER:,} conditions in all rules together"
    if sum(map(_count_of_values, conditions)) > MOST_VALUES_TOGETHER:
        return f"may have at most {MOST_VALUES_TOGETHER:,} values in all rules together"
    return None


def ids_named(document: Document, path: str) -> Iterator[tuple[str, str, UUID]]:
    """The lists and tags in a document: the path of each, whether it is a `list` or a `tag`, and its id."""
    for member, content in document.items():
        if member in ("all", "any"):
            for index, inner in enumerate(content):
                yield from ids_named(inner, f"{path}.{member}[{index}]")
        elif member == "not":
            yield from ids_named(content, f"{path}.not")
        elif member in ("list", "tag"):
            yield f"{path}.{member}.{member}_id", member, UUID(content[f"{member}_id"])


def conditions_of(rule: Rule) -> Iterator[Rule]:
    """The conditions of a rule, however deep."""
    match rule:
        case All(rules) | AnyOf(rules):
            for inner in rules:
                yield from conditions_of(inner)
        case Not(inner):
            yield from conditions_of(inner)
        case _:
            yield rule


def is_advanced(rule: Rule) -> bool:
    """Whether the rule takes the plan feature `advanced_segments`: groups within groups, engagement, dates relative to now."""
    groups = rule.rules if isinstance(rule, All | AnyOf) else (rule,)
    return any(map(_is_nested, groups)) or any(map(_is_advanced_condition, conditions_of(rule)))


def _count_of_values(condition: Rule) -> int:
    match condition:
        case Comparison(operand=tuple(values)):
            return len(values)
        case _:
            return 1


def _is_nested(rule: Rule) -> bool:
    inner = rule.rule if isinstance(rule, Not) else rule
    return isinstance(inner, All | AnyOf | Not)


def _is_advanced_condition(condition: Rule) -> bool:
    match condition:
        case Engaged():
            return True
        case Comparison(operator=operator):
            return operator in _DAYS
        case _:
            return False


class _Reader:
    """Reads one document, and collects what is wrong with it."""

    def __init__(self, fields: Mapping[str, CustomField]) -> None:
        self.found: list[FieldViolation] = []
        self.conditions = 0
        self._fields = fields
        self._conditions: Mapping[str, Callable[[Document, str], Rule]] = {
            "field": self._field,
            "custom_field": self._custom_field,
            "list": lambda content, _: InList(UUID(content["list_id"])),
            "tag": lambda content, _: HasTag(UUID(content["tag_id"])),
            "engagement": self._engagement,
        }

    def refuse(self, path: str, message: str) -> Rule:
        self.found.append(FieldViolation(path, message))
        return Nobody()

    def read(self, document: Document, path: str, depth: int) -> Rule:
        if len(document) != 1:
            return self.refuse(path, f"must have exactly one of {', '.join(_MEMBERS)}")
        ((member, content),) = document.items()
        if member in self._conditions:
            self.conditions += 1
            return self._conditions[member](content, f"{path}.{member}")
        if depth >= DEEPEST:
            return self.refuse(f"{path}.{member}", f"is nested too deeply: groups may be {DEEPEST - 1} deep")
        if member == "not":
            return Not(self.read(content, f"{path}.not", depth + 1))
        rules = tuple(
            self.read(inner, f"{path}.{member}[{index}]", depth + 1) for index, inner in enumerate(content)
        )
        return All(rules) if member == "all" else AnyOf(rules)

    def _field(self, content: Document, path: str) -> Rule:
        name = ContactField(content["name"])
        choices = [status.value for status in Status] if name is ContactField.STATUS else ()
        return self._comparison(name, _FIELD_KINDS[name], choices, content, path)

    def _custom_field(self, content: Document, path: str) -> Rule:
        field = self._fields.get(content["key"])
        if field is None:
            return self.refuse(f"{path}.key", "is not a declared custom field")
        return self._comparison(field.number, _CUSTOM_KINDS[field.type], field.choices, content, path)

    def _engagement(self, content: Document, _: str) -> Rule:
        campaign_id = content.get("campaign_id")
        return Engaged(
            Engagement(content["event"]),
            content.get("within_days", 0),
            UUID(campaign_id) if campaign_id else None,
        )

    def _comparison(
        self,
        subject: ContactField | int,
        kind: Kind,
        choices: Sequence[str],
        content: Document,
        path: str,
    ) -> Rule:
        operator = Operator(content["operator"])
        if operator not in OPERATORS[kind]:
            allowed = ", ".join(OPERATORS[kind])
            return self.refuse(f"{path}.operator", f"does not go with a {kind.value}: use one of {allowed}")
        try:
            operand = _operand(kind, operator, content.get("value"), choices)
        except ValueError as error:
            return self.refuse(f"{path}.value", str(error))
        return Comparison(subject, kind, operator, operand)


def _operand(kind: Kind, operator: Operator, value: object, choices: Sequence[str]) -> Any:
    if operator in _SET:
        if value is not None:
            raise ValueError(f"must not be given with {operator.value}")
        return None
    if operator in _DAYS:
        return _days(value)
    if operator is Operator.ONE_OF:
        if not isinstance(value, list) or not 0 < len(value) <= _MOST_VALUES:
            raise ValueError(f"must be a list of 1 to {_MOST_VALUES} values")
        return tuple(_one(kind, element, choices) for element in value)
    return _one(kind, value, choices)


def _one(kind: Kind, value: object, choices: Sequence[str]) -> Any:
    match kind:
        case Kind.TEXT:
            return _text(value)
        case Kind.NUMBER:
            return _number(value)
        case Kind.BOOLEAN:
            if not isinstance(value, bool):
                raise ValueError("must be true or false")  # noqa: TRY004 - the end of a sentence
            return value
        case Kind.DATE | Kind.MOMENT:
            return parse_date(value)
        case Kind.CHOICE:
            if not isinstance(value, str) or value not in choices:
                raise ValueError(f"must be one of: {', '.join(choices)}")
            return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text that is not empty")
    if len(value) > _LONGEST_TEXT:
        raise ValueError(f"must be at most {_LONGEST_TEXT:,} characters")
    if not is_text(value):
        raise ValueError("must not contain control characters")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError("must be a number")
    return float(value)


def _days(value: object) -> int:
    if not isinstance(value, int | float) or isinstance(value, bool) or value != int(value):
        raise ValueError("must be a whole number of days")
    if not 0 <= value <= MOST_DAYS:
        raise ValueError(f"must be 0 to {MOST_DAYS:,} days")
    return int(value)
