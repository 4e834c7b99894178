"""Values of HubSpot's properties, each of which it exchanges as text (https://developers.hubspot.com/docs/api-reference/2026-03/crm/properties)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from services.integrations.crm.records import Choice, Kind, Property, Value

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = {
    "string": Kind.TEXT,
    "phone_number": Kind.TEXT,
    "number": Kind.NUMBER,
    "bool": Kind.YES_NO,
    "date": Kind.DATE,
    "datetime": Kind.MOMENT,
}


def property_of(told: Mapping[str, Any]) -> Property | None:
    """A property as HubSpot describes it; None for a type that has no kind here."""
    kind = _KINDS.get(told["type"])
    if told["type"] == "enumeration":
        kind = {"checkbox": Kind.CHOICES, "booleancheckbox": Kind.YES_NO}.get(
            told.get("fieldType", ""), Kind.CHOICE
        )
    if kind is None:
        return None
    meta = told.get("modificationMetadata") or {}
    choices = (
        tuple(
            Choice(option["value"], option.get("label") or option["value"])
            for option in told.get("options", ())
        )
        if kind in (Kind.CHOICE, Kind.CHOICES)
        else ()
    )
    is_writable = not (meta.get("readOnlyValue") or told.get("calculated"))
    return Property(told["name"], told.get("label") or told["name"], kind, is_writable, choices)


def values_of(told: Mapping[str, str | None], properties: Sequence[Property]) -> dict[str, Value]:
    """What a contact has of these; what is not what its property says is left out."""
    values: dict[str, Value] = {}
    for each in properties:
        text = told.get(each.name)
        try:
            values[each.name] = _READERS[each.kind](text) if text else None
        except (ValueError, InvalidOperation, OverflowError):
            continue
    return values


def written(values: Mapping[str, Value]) -> dict[str, str]:
    """As HubSpot takes them: the empty text takes a value away."""
    return {name: _text(value) for name, value in values.items()}


def moment_of(text: str) -> datetime:
    """A time as answers have it. Raises ValueError."""
    if text.lstrip("-").isdecimal():
        return _EPOCH + timedelta(milliseconds=int(text))
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def milliseconds(moment: datetime) -> int:
    """Since 1970, as filters have it."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _yes_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _number(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(text)
    return number


_READERS: Mapping[Kind, Callable[[str], Value]] = {
    Kind.TEXT: str,
    Kind.NUMBER: _number,
    Kind.YES_NO: _yes_no,
    Kind.DATE: lambda text: moment_of(text).date(),
    Kind.MOMENT: moment_of,
    Kind.CHOICE: str,
    Kind.CHOICES: lambda text: tuple(text.split(";")),
}


def _text(value: Value) -> str:
    match value:
        case None:
            text = ""
        case bool():
            text = "true" if value else "false"
        case Decimal():
            text = format(value, "f")
        case datetime():
            text = str(milliseconds(value))
        case date():
            text = value.isoformat()
        case str():
            text = value
        case _:
            text = ";".join(value)
    return text
