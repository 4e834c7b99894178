"""What a workflow sets a field of contacts to: parsed as a client's value is, whenever it is looked at."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Value

from flownurture.contacts.v1 import segments_pb2, workflow_contacts_pb2
from flownurture.sending.v1 import workflows_pb2
from services.contacts.custom_fields import CustomField, parse_value
from services.contacts.names import parse_name
from services.contacts.rules import ContactField

_PREFIX = "CONTACT_FIELD_"
_SETTABLE = frozenset((ContactField.FIRST_NAME, ContactField.LAST_NAME))


@dataclass(frozen=True, slots=True)
class FieldSetting:
    """A field, one that every contact has or a custom one by its key, and its value; None and the empty text are none."""

    field: ContactField | str
    value: object


@dataclass(frozen=True, slots=True)
class ParsedSetting:
    """The same as it is stored. None leaves a name as it is."""

    first_name: str | None = None
    last_name: str | None = None
    # Of custom fields, by their numbers; None takes a value away.
    values: Mapping[str, object | None] = field(default_factory=dict)


def setting_of(
    named: workflow_contacts_pb2.FieldValue | workflows_pb2.FieldReference, value: Value | None
) -> FieldSetting | None:
    """A setting as the contract writes it; None where no field is named."""
    if named.WhichOneof("field") == "custom_field":
        name: ContactField | str = named.custom_field
    elif named.name:
        name = ContactField(segments_pb2.ContactField.Name(named.name).removeprefix(_PREFIX).lower())
    else:
        return None
    return FieldSetting(name, None if value is None else MessageToDict(value))


def parse_setting(setting: FieldSetting, fields: Mapping[str, CustomField]) -> ParsedSetting:
    """Raises ValueError, with the end of a sentence, when there is no such field or it cannot have that value."""
    if isinstance(setting.field, ContactField):
        return _named(setting.field, setting.value)
    declared = fields.get(setting.field)
    if declared is None:
        raise ValueError("is not a declared custom field")
    return ParsedSetting(values={str(declared.number): parse_value(declared, setting.value)})


def _named(name: ContactField, value: object) -> ParsedSetting:
    if name not in _SETTABLE:
        raise ValueError("is not a field that a workflow sets")
    if not isinstance(value, str | None):
        raise ValueError("must be a text")  # noqa: TRY004 - the end of a sentence
    parsed = parse_name(value or "")
    return (
        ParsedSetting(first_name=parsed)
        if name is ContactField.FIRST_NAME
        else ParsedSetting(last_name=parsed)
    )
