"""Values of Salesforce's fields, as JSON and as CSV have them (https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/field_types.htm)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from services.integrations.crm.records import Choice, Kind, Property, Value
from services.integrations.crm.stand_ins import is_stand_in, stand_in

LAST_NAME = "LastName"
_LONGEST_LAST_NAME = 80

_KINDS = {
    **dict.fromkeys(
        ("string", "textarea", "phone", "url", "email", "combobox", "id", "reference"), Kind.TEXT
    ),
    **dict.fromkeys(("double", "currency", "percent", "int", "long"), Kind.NUMBER),
    "boolean": Kind.YES_NO,
    "date": Kind.DATE,
    "datetime": Kind.MOMENT,
    "picklist": Kind.CHOICE,
    "multipicklist": Kind.CHOICES,
}


def property_of(told: Mapping[str, Any]) -> Property | None:
    """A field as describe tells it; None for a type that has no kind here, such as an address of several parts."""
    kind = _KINDS.get(told["type"])
    if kind is None:
        return None
    choices = tuple(
        Choice(each["value"], each.get("label") or each["value"])
        for each in told.get("picklistValues", ())
        if each.get("active")
    )
    return Property(
        told["name"], told.get("label") or told["name"], kind, bool(told.get("updateable")), choices
    )


def values_of(told: Mapping[str, Any], properties: Sequence[Property]) -> dict[str, Value]:
    """What a contact has of these; what is not what its field says is left out."""
    values: dict[str, Value] = {}
    for each in properties:
        held = told.get(each.name)
        is_nothing = held in (None, "") or (each.name == LAST_NAME and is_stand_in(str(held)))
        try:
            values[each.name] = None if is_nothing else _READERS[each.kind](held)
        except (ValueError, InvalidOperation):
            continue
    return values


def written(values: Mapping[str, Value], email: str) -> dict[str, Any]:
    """As JSON takes them, of who has this address: nobody is without a last name there."""
    told = {name: _json(value) for name, value in values.items()}
    if LAST_NAME in told:
        told[LAST_NAME] = told[LAST_NAME] or stand_in(email, _LONGEST_LAST_NAME)
    return told


def moment_of(text: str) -> datetime:
    """A time as answers have it. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def literal(text: str) -> str:
    """A text as SOQL quotes it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def moment_literal(moment: datetime) -> str:
    """A time as SOQL has it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1_000:03}Z"


def _yes_no(held: Any) -> bool:
    if isinstance(held, bool):
        return held
    if held not in ("true", "false"):
        raise ValueError(held)
    return bool(held == "true")


def _number(held: Any) -> Decimal:
    number = Decimal(str(held))
    if not number.is_finite():
        raise ValueError(held)
    return number


_READERS: Mapping[Kind, Callable[[Any], Value]] = {
    Kind.TEXT: str,
    Kind.NUMBER: _number,
    Kind.YES_NO: _yes_no,
    Kind.DATE: lambda held: date.fromisoformat(str(held)),
    Kind.MOMENT: lambda held: moment_of(str(held)),
    Kind.CHOICE: str,
    Kind.CHOICES: lambda held: tuple(str(held).split(";")),
}


def _json(value: Value) -> Any:
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime():
            return moment_literal(value)
        case date():
            return value.isoformat()
        case tuple():
            return ";".join(value)
        case _:
            return value
