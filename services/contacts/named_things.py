"""What the document of a workflow names here, by the path of the field that does: whether it is there, and as it must be."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import Table, Text, literal, select, union_all

from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from services.contacts.custom_fields import CustomField, FieldType, read_fields
from services.contacts.field_settings import FieldSetting, parse_setting
from services.contacts.rules import (
    Document,
    excess_of,
    ids_named,
    is_advanced,
    parse_rule,
    standing_rule,
)
from services.contacts.sets import among
from services.contacts.tables import forms, lists, segments, tags


class Kind(StrEnum):
    """What has an id."""

    LIST = "list"
    TAG = "tag"
    FORM = "form"
    SEGMENT = "segment"


@dataclass(frozen=True, slots=True)
class ById:
    """A list, a tag, a form or a segment."""

    kind: Kind
    id: UUID


@dataclass(frozen=True, slots=True)
class ByKey:
    """A custom field, which may have to be a date."""

    key: str
    is_date: bool = False


Thing: TypeAlias = ById | ByKey | FieldSetting | Document


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong, and the paths of the rules that take the plan feature `advanced_segments`."""

    violations: Sequence[FieldViolation]
    advanced_paths: Sequence[str]


_TABLES: Mapping[Kind, Table] = {Kind.LIST: lists, Kind.TAG: tags, Kind.FORM: forms, Kind.SEGMENT: segments}


async def check(session: TenantSession, things: Sequence[tuple[str, Thing]]) -> Checked:
    """Look at things, each with the path of the field that names it; what is wrong is told in their order."""
    fields = await read_fields(session)
    documents = [(path, thing) for path, thing in things if isinstance(thing, Mapping)]
    missing = await _missing(session, [each for _, thing in things for _, each in _by_id("", thing)])
    found = [wrong for path, thing in things for wrong in _wrong(path, thing, fields, missing)]
    standing = [standing_rule(document, fields) for _, document in documents]
    if excess := excess_of(standing):
        found.append(FieldViolation(documents[-1][0], excess))
    advanced = [path for (path, _), rule in zip(documents, standing, strict=True) if is_advanced(rule)]
    return Checked(found, advanced)


def _wrong(
    path: str, thing: Thing, fields: Mapping[str, CustomField], missing: frozenset[ById]
) -> Iterator[FieldViolation]:
    for place, each in _by_id(path, thing):
        if each in missing:
            yield FieldViolation(place, f"is not the id of a {each.kind.value}")
    match thing:
        case ByKey():
            yield from _wrong_field(path, thing, fields)
        case FieldSetting():
            try:
                parse_setting(thing, fields)
            except ValueError as error:
                yield FieldViolation(path, str(error))
        case Mapping():
            try:
                parse_rule(thing, fields, path)
            except InvalidRequest as refused:
                yield from refused.violations


def _wrong_field(path: str, named: ByKey, fields: Mapping[str, CustomField]) -> Iterator[FieldViolation]:
    field = fields.get(named.key)
    if field is None:
        yield FieldViolation(path, "is not a declared custom field")
    elif named.is_date and field.type is not FieldType.DATE:
        yield FieldViolation(path, f"is a {field.type.value}, and must be a date")


def _by_id(path: str, thing: Thing) -> Iterator[tuple[str, ById]]:
    """What a thing is, or a rule names, by id."""
    if isinstance(thing, ById):
        yield path, thing
    elif isinstance(thing, Mapping):
        for place, member, named_id in ids_named(thing, path):
            yield place, ById(Kind(member), named_id)


async def _missing(session: TenantSession, named: Sequence[ById]) -> frozenset[ById]:
    ids: defaultdict[Kind, set[UUID]] = defaultdict(set)
    for each in named:
        ids[each.kind].add(each.id)
    found = await session.execute(
        union_all(
            *(
                select(literal(kind.value, Text).label("kind"), table.c.id).where(
                    among(table.c.id, ids[kind])
                )
                for kind, table in _TABLES.items()
            )
        )
    )
    there = {ById(Kind(row.kind), row.id) for row in found}
    return frozenset(each for each in named if each not in there)
