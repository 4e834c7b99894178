"""Names of people, organizations and keys: what is left of the text without the space around it."""

from chassis.errors import FieldViolation, InvalidRequest


def parse_name(text: str, field: str = "name") -> str:
    """The name, on one line; InvalidRequest when nothing is left or a line ends within."""
    name = text.strip()
    if not name:
        raise InvalidRequest(FieldViolation(field, "must not be blank"))
    if not name.isprintable():
        raise InvalidRequest(FieldViolation(field, "must be on one line, without control characters"))
    return name
