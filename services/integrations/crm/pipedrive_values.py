"""Values of Pipedrive's fields, as its API v2 has them (https://pipedrive.readme.io/docs/pipedrive-api-v2-migration-guide)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from services.integrations.crm.records import Choice, Kind, Property, Value
from services.integrations.crm.stand_ins import is_stand_in, stand_in

FIRST_NAME, LAST_NAME, NAME, PHONE, ADDED = "first_name", "last_name", "name", "phone", "add_time"
# What everybody has. Pipedrive takes names as one text only: the two parts are written by it.
OWN_PROPERTIES = (
    Property(FIRST_NAME, "First name", Kind.TEXT),
    Property(LAST_NAME, "Last name", Kind.TEXT),
    Property(NAME, "Name", Kind.TEXT, is_writable=False),
    Property(PHONE, "Phone", Kind.TEXT),
    Property(ADDED, "Person created", Kind.MOMENT, is_writable=False),
)
_OWN_NAMES = {each.name for each in OWN_PROPERTIES}
_KINDS = {
    **dict.fromkeys(("varchar", "varchar_auto", "text", "phone"), Kind.TEXT),
    **dict.fromkeys(("double", "int", "monetary"), Kind.NUMBER),
    "boolean": Kind.YES_NO,
    "date": Kind.DATE,
    "enum": Kind.CHOICE,
    "set": Kind.CHOICES,
}
_LONGEST_NAME = 255


def property_of(told: Mapping[str, Any]) -> Property | None:
    """A custom field as Pipedrive describes it; None for a type that has no kind here, such as a range or somebody else."""
    kind = _KINDS.get(told["field_type"])
    if kind is None or not told.get("is_custom_field"):
        return None
    choices = tuple(
        Choice(str(option["id"]), option.get("label") or str(option["id"]))
        for option in told.get("options") or ()
    )
    # An amount goes with its currency, which we do not have.
    is_writable = told["field_type"] != "monetary"
    return Property(
        told["field_code"], told.get("field_name") or told["field_code"], kind, is_writable, choices
    )


def custom_keys(properties: Sequence[Property]) -> list[str]:
    """Of the custom fields among these."""
    return [each.name for each in properties if each.name not in _OWN_NAMES]


def values_of(told: Mapping[str, Any], properties: Sequence[Property]) -> dict[str, Value]:
    """What a person has of these; what is not what its field says is left out."""
    custom = told.get("custom_fields") or {}
    first, last = names_of(told)
    own = {
        FIRST_NAME: first,
        LAST_NAME: last,
        NAME: " ".join(filter(None, (first, last))),
        PHONE: primary(told.get("phones")),
        ADDED: told.get(ADDED),
    }
    values: dict[str, Value] = {}
    for each in properties:
        held = own[each.name] if each.name in own else custom.get(each.name)
        try:
            values[each.name] = _READERS[each.kind](held) if held not in (None, "", []) else None
        except (ValueError, TypeError, KeyError, InvalidOperation):
            continue
    return values


def custom_values(values: Mapping[str, Value], properties: Sequence[Property]) -> dict[str, Any]:
    """Those of custom fields, as Pipedrive takes them: null takes a value away. Raises ValueError for what is no option's id."""
    kinds = {each.name: each.kind for each in properties}
    return {
        name: None if value is None else _json(kinds[name], value)
        for name, value in values.items()
        if name in kinds and name not in _OWN_NAMES
    }


def names_of(told: Mapping[str, Any]) -> tuple[str, str]:
    """First and last name; an address in their place is no name."""
    whole = str(told.get(NAME) or "")
    if is_stand_in(whole):
        return "", ""
    if told.get(FIRST_NAME) or told.get(LAST_NAME):
        return str(told.get(FIRST_NAME) or ""), str(told.get(LAST_NAME) or "")
    return _split(whole)


def whole_name(first: str, last: str, email: str) -> str:
    """What to write for a first and a last name. Raises ValueError where Pipedrive would take it apart in another way."""
    whole = f"{first} {last}".strip()
    if not whole:
        return stand_in(email, _LONGEST_NAME)
    if _split(whole) != (first, last) or is_stand_in(whole):
        raise ValueError("Pipedrive would take this first and last name apart in another way")
    return whole


def primary(entries: Any) -> str | None:
    """The address or number that counts, of several; None where there is none."""
    place = _primary_place(entries or [])
    return None if place is None else str(entries[place]["value"])


def with_primary(entries: Sequence[Mapping[str, Any]], value: str) -> list[dict[str, Any]]:
    """The same entries, with this in place of the one that counts. None stands twice."""
    place = _primary_place(entries)
    others = [
        {**each, "primary": False}
        for at, each in enumerate(entries)
        if at != place and each.get("value") and str(each["value"]).lower() != value.lower()
    ]
    label = entries[place].get("label") if place is not None else None
    return [{"value": value, "primary": True, "label": label or "work"}, *others] if value else others


def moment_of(text: str) -> datetime:
    """A time as answers have it (RFC 3339). Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def moment_text(moment: datetime) -> str:
    """A time as questions have it: whole seconds, not later than it is."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _primary_place(entries: Sequence[Mapping[str, Any]]) -> int | None:
    filled = [place for place, each in enumerate(entries) if each.get("value")]
    return next((place for place in filled if entries[place].get("primary")), filled[0] if filled else None)


def _split(whole: str) -> tuple[str, str]:
    first, _, last = whole.strip().partition(" ")
    return first, last.strip()


def _number(held: Any) -> Decimal:
    number = Decimal(str(held["value"] if isinstance(held, dict) else held))
    if not number.is_finite():
        raise ValueError(held)
    return number


def _yes_no(held: Any) -> bool:
    if not isinstance(held, bool):
        raise ValueError(held)  # noqa: TRY004 - as every reader
    return held


_READERS: Mapping[Kind, Callable[[Any], Value]] = {
    Kind.TEXT: str,
    Kind.NUMBER: _number,
    Kind.YES_NO: _yes_no,
    Kind.DATE: lambda held: date.fromisoformat(str(held)[:10]),
    Kind.MOMENT: lambda held: moment_of(str(held)),
    Kind.CHOICE: lambda held: str(int(held)),
    Kind.CHOICES: lambda held: tuple(str(int(each)) for each in held),
}


def _json(kind: Kind, value: Value) -> Any:
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime():
            return moment_text(value)
        case date():
            return value.isoformat()
        case tuple():
            return [int(each) for each in value]
        case str() if kind is Kind.CHOICE:
            return int(value)
        case _:
            return value
