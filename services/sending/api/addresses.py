"""Addresses in requests as the type the domain works with."""

from chassis.email_address import EmailAddress
from chassis.errors import FieldViolation, InvalidRequest


def address_of(field: str, text: str) -> EmailAddress:
    """The address in a field. Raises InvalidRequest when it is none."""
    try:
        return EmailAddress.parse(text)
    except ValueError as error:
        raise InvalidRequest(FieldViolation(field, str(error))) from None
