"""Fields of requests as the types the domain works with."""

from collections.abc import Iterable
from uuid import UUID

from chassis.errors import FieldViolation, InvalidRequest
from chassis.identifiers import parse_id
from services.contacts.names import parse_name
from services.contacts.time_zones import parse_time_zone


def name_of(field: str, text: str, *, required: bool = False) -> str:
    """The name in a field. Raises InvalidRequest when it is none."""
    try:
        name = parse_name(text)
    except ValueError as error:
        raise InvalidRequest(FieldViolation(field, str(error))) from None
    if required and not name:
        raise InvalidRequest(FieldViolation(field, "must be given"))
    return name


def time_zone_of(text: str) -> str:
    """The zone in the field `time_zone`. Raises InvalidRequest when there is no such zone."""
    try:
        return parse_time_zone(text)
    except ValueError as error:
        raise InvalidRequest(FieldViolation("time_zone", str(error))) from None


def ids_of(texts: Iterable[str]) -> set[UUID]:
    """The ids in a repeated field, each once."""
    return {parse_id(text) for text in texts}


def names_of(field: str, texts: Iterable[str]) -> list[str]:
    """The names in a repeated field, each once and none of them empty. Raises InvalidRequest."""
    return list(
        dict.fromkeys(name_of(f"{field}[{index}]", text, required=True) for index, text in enumerate(texts))
    )
