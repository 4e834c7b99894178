"""Names of people, organizations and keys: one line, with nothing around it."""

from chassis.errors import FieldViolation, InvalidRequest


def parse_name(text: str, field: str = "name") -> str:
    """The name, each run of white space in it a single space; InvalidRequest when nothing is left."""
    name = " ".join(text.split())
    if not name:
        raise InvalidRequest(FieldViolation(field, "must not be blank"))
    return name
