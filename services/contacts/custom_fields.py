"""The fields that an organization declares for its contacts, and the values that they may have.

A value is stored under its field's number. The number is never given again, so that what a deleted field left behind cannot
turn up as the value of a later one.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.dialects.postgresql import insert

from chassis.contract.formats import is_text
from chassis.database import TenantSession
from chassis.errors import Conflict, FieldViolation, InvalidRequest, NotFound
from chassis.identifiers import new_id
from services.contacts.tables import custom_fields

MOST_FIELDS = 100
LONGEST_TEXT = 1_000
MOST_CHOICES = 100

_KEY = re.compile(r"[a-z][a-z0-9_]{0,49}", re.ASCII)
# What a contact has anyway, and what a column of a file may be beside a field.
_RESERVED = frozenset(
    (
        "id",
        "email",
        "first_name",
        "last_name",
        "status",
        "time_zone",
        "tags",
        "list_ids",
        "created_at",
        "updated_at",
        "ignore",
    )
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LOCK_KEY = func.hashtextextended("contacts.custom_fields." + func.current_setting("app.organization_id"), 0)


class FieldType(StrEnum):
    """What a field's values are."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True)
class CustomField:
    """A declared field."""

    id: UUID
    number: int
    key: str
    label: str
    type: FieldType
    choices: Sequence[str]
    created_at: datetime


# By the number of the field, as text; None where a value is to be taken away.
Values = Mapping[str, object]

_COLUMNS = [custom_fields.c[name] for name in CustomField.__dataclass_fields__]
_LIVE = custom_fields.c.deleted_at.is_(None)


async def create_field(
    session: TenantSession, key: str, label: str, kind: FieldType, choices: Sequence[str]
) -> CustomField:
    """Declare a field. Raises InvalidRequest, and Conflict when the key is taken or there are as many as there may be."""
    _check_declaration(key, kind, choices)
    await session.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))
    fields = await read_fields(session)
    if key in fields:
        raise Conflict(f"There is a custom field with the key {key} already.")
    if len(fields) >= MOST_FIELDS:
        raise Conflict(f"There are {MOST_FIELDS} custom fields, and may be no more.")
    number = select(func.coalesce(func.max(custom_fields.c.number), 0) + 1).scalar_subquery()
    created = await session.execute(
        insert(custom_fields)
        .values(
            id=new_id(), number=number, key=key, label=label or key, type=kind.value, choices=list(choices)
        )
        .returning(*_COLUMNS)
    )
    return _field(created.mappings().one())


async def get_field(session: TenantSession, field_id: UUID) -> CustomField:
    """The field. Raises NotFound."""
    found = await session.execute(select(*_COLUMNS).where(custom_fields.c.id == field_id, _LIVE))
    row = found.mappings().one_or_none()
    if row is None:
        raise _no_such_field(field_id)
    return _field(row)


async def read_fields(session: TenantSession) -> dict[str, CustomField]:
    """All fields, by key."""
    found = await session.execute(select(*_COLUMNS).where(_LIVE).order_by(custom_fields.c.number))
    return {row["key"]: _field(row) for row in found.mappings()}


async def page_fields(session: TenantSession, *, before: UUID | None, size: int) -> list[CustomField]:
    """Up to `size` fields, newest first, that are older than `before`."""
    wanted = select(*_COLUMNS).where(_LIVE).order_by(custom_fields.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(custom_fields.c.id < before)
    return [_field(row) for row in (await session.execute(wanted)).mappings()]


async def update_field(
    session: TenantSession, field_id: UUID, *, label: str | None, add_choices: Sequence[str]
) -> CustomField:
    """Change the label if it is not None, and add choices. Raises NotFound and InvalidRequest."""
    await session.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))
    field = await get_field(session, field_id)
    choices = [
        *field.choices,
        *(choice for choice in dict.fromkeys(add_choices) if choice not in field.choices),
    ]
    if add_choices and field.type is not FieldType.CHOICE:
        raise InvalidRequest(FieldViolation("add_choices", "belongs to choices alone"))
    if len(choices) > MOST_CHOICES:
        raise InvalidRequest(FieldViolation("add_choices", f"would make more than {MOST_CHOICES} choices"))
    changed = await session.execute(
        update(custom_fields)
        .where(custom_fields.c.id == field_id)
        .values(label=field.label if label is None else label, choices=choices)
        .returning(*_COLUMNS)
    )
    return _field(changed.mappings().one())


async def delete_field(session: TenantSession, field_id: UUID) -> CustomField:
    """Delete a field, and with it every value. Raises NotFound."""
    await session.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))
    field = await get_field(session, field_id)
    await session.execute(
        update(custom_fields).where(custom_fields.c.id == field_id).values(deleted_at=func.now())
    )
    return field


def parse_values(
    fields: Mapping[str, CustomField], given: Mapping[str, object], path: str = "custom_fields"
) -> dict[str, object | None]:
    """Values given by key as they are stored. Raises InvalidRequest that names each key that is wrong."""
    values: dict[str, object | None] = {}
    found: list[FieldViolation] = []
    for key, value in given.items():
        place = f"{path}.{key[:60]}"
        if key not in fields:
            found.append(FieldViolation(place, "is not a declared custom field"))
            continue
        try:
            values[str(fields[key].number)] = parse_value(fields[key], value)
        except ValueError as error:
            found.append(FieldViolation(place, str(error)))
    if found:
        raise InvalidRequest(*found)
    return values


def parse_value(field: CustomField, value: object) -> object | None:
    """A value as it is stored; None and the empty text are no value. Raises ValueError with the end of a sentence."""
    if value is None or value == "":
        return None
    return _PARSERS[field.type](field, value)


def parse_text(field: CustomField, text: str) -> object | None:
    """A value from text, as a file or a filled-in form has it. Raises ValueError with the end of a sentence."""
    text = text.strip()
    if field.type is FieldType.NUMBER and text:
        try:
            return parse_value(field, float(text))
        except ValueError:
            raise ValueError("must be a number") from None
    if field.type is FieldType.BOOLEAN and text:
        if text.lower() not in _BOOLEANS:
            raise ValueError("must be true or false")
        return _BOOLEANS[text.lower()]
    return parse_value(field, text)


_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "y", "1", "on", "x"), True),
    **dict.fromkeys(("false", "no", "n", "0", "off"), False),
}


def _parse_text(_: CustomField, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")  # noqa: TRY004 - the end of a sentence
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"must be at most {LONGEST_TEXT:,} characters")
    if not is_text(value):
        raise ValueError("must not contain control characters")
    return value


def _parse_number(_: CustomField, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError("must be a number")
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _parse_boolean(_: CustomField, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004
    return value


def parse_date(value: object) -> date:
    """A day of the years 1 to 9999, from YYYY-MM-DD. Raises ValueError with the end of a sentence."""
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError("must be a date such as 2026-01-31")


def _parse_date(_: CustomField, value: object) -> str:
    return parse_date(value).isoformat()


def _parse_choice(field: CustomField, value: object) -> str:
    if value not in field.choices:
        shown = ", ".join(field.choices[:10])
        raise ValueError(f"must be one of: {shown}{', …' if len(field.choices) > 10 else ''}")
    return str(value)


_PARSERS: dict[FieldType, Callable[[CustomField, object], object]] = {
    FieldType.TEXT: _parse_text,
    FieldType.NUMBER: _parse_number,
    FieldType.BOOLEAN: _parse_boolean,
    FieldType.DATE: _parse_date,
    FieldType.CHOICE: _parse_choice,
}


def _check_declaration(key: str, kind: FieldType, choices: Sequence[str]) -> None:
    found = []
    if not _KEY.fullmatch(key):
        found.append(
            FieldViolation(
                "key", "must be a lower-case letter, then letters, digits and underscores, at most 50"
            )
        )
    elif key in _RESERVED:
        found.append(FieldViolation("key", "is what a contact has anyway"))
    if kind is FieldType.CHOICE and not choices:
        found.append(FieldViolation("choices", "must have at least one element"))
    if kind is not FieldType.CHOICE and choices:
        found.append(FieldViolation("choices", "belongs to choices alone"))
    if len(set(choices)) < len(choices):
        found.append(FieldViolation("choices", "must not repeat itself"))
    if found:
        raise InvalidRequest(*found)


def _field(row: RowMapping) -> CustomField:
    return CustomField(**{**row, "type": FieldType(row["type"])})


def _no_such_field(field_id: UUID) -> NotFound:
    return NotFound(f"custom field as {field_id}")
