"""JSON schemas (2020-12) of the contract's messages, with their bounds and comments."""

from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from chassis.contract.bounds import rule_of
from chassis.contract.comments import Comments
from chassis.contract.json_encoding import is_sparse
from chassis.contract.json_names import json_names
from chassis.contract.rules import FieldRule, Format
from gateway.endpoints import ContractError

Json = dict[str, Any]

_FORMATS: dict[Format, Json] = {
    Format.UUID: {"format": "uuid"},
    Format.EMAIL: {"format": "email", "maxLength": 320},
    Format.URL: {"format": "uri", "maxLength": 2048},
    Format.SCOPE: {"pattern": "^[a-z][a-z_]{0,62}:(read|write)$"},
    Format.PAGE_TOKEN: {"maxLength": 512},
    Format.LINK_TOKEN: {"maxLength": 512},
}
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_NUMBERS = {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}


class Schemas:
    """Makes the schemas of messages and collects those that are referred to by name."""

    def __init__(self, comments: Comments) -> None:
        self._comments = comments
        self._meant: dict[str, str] = {}
        self.named: dict[str, Json] = {}

    def answer(self, message: Descriptor) -> Json:
        """A reference to what an answer of this type looks like: every member is there."""
        return self._reference(message, message.name, written=False)

    def body(self, message: Descriptor, left_out: frozenset[str] = frozenset()) -> Json:
        """A reference to what a request of this type may hold, less the fields that the path takes."""
        return self._reference(message, message.name, written=True, left_out=left_out)

    def field(self, field: FieldDescriptor, *, written: bool) -> Json:
        """The schema of one field, as a client writes or reads it."""
        rule = rule_of(field)
        comment = self._comments.of(field)
        note = {"description": comment} if comment else {}
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value = self._one(field.message_type.fields_by_name["value"], rule, written)
            bounds = {"maxProperties": rule.max_items} if rule.max_items else {}
            return {"type": "object", "additionalProperties": value, **bounds, **note}
        if field.is_repeated:
            bounds = {"maxItems": rule.max_items} if rule.max_items else {}
            if rule.required:
                bounds["minItems"] = 1
            return {"type": "array", "items": self._one(field, rule, written), **bounds, **note}
        one = self._one(field, rule, written)
        may_be_null = (
            field.message_type is not None and not rule.required
            if written
            else field.has_presence or field.enum_type is not None
        )
        return {**(_or_null(one) if may_be_null else one), **note}

    def _reference(
        self, message: Descriptor, name: str, *, written: bool, left_out: frozenset[str] = frozenset()
    ) -> Json:
        if self._meant.setdefault(name, message.full_name) != message.full_name:
            raise ContractError(f"{message.full_name} and {self._meant[name]} would both be called {name}")
        if name not in self.named:
            self.named[name] = {}  # a message may refer to itself
            fields = [field for field in message.fields if field.name not in left_out]
            schema: Json = {
                "type": "object",
                "properties": {field.name: self.field(field, written=written) for field in fields},
            }
            if comment := self._comments.of(message):
                schema["description"] = comment
            if required := [
                field.name
                for field in fields
                if rule_of(field).required or not (written or is_sparse(message))
            ]:
                schema["required"] = required
            if written:
                schema["additionalProperties"] = False
            self.named[name] = schema
        return {"$ref": f"#/components/schemas/{name}"}

    def _one(self, field: FieldDescriptor, rule: FieldRule, written: bool) -> Json:
        """The schema of one value of a field."""
        if field.message_type is not None:
            if field.message_type.full_name == "google.protobuf.Timestamp":
                return {"type": "string", "format": "date-time"}
            if field.message_type.full_name == "google.protobuf.Struct":
                return {"type": "object"}
            if field.message_type.full_name == "google.protobuf.Value":
                return {"type": ["string", "number", "boolean", "array", "object", "null"]}
            name = f"{field.message_type.name}{'Input' if written else ''}"
            return self._reference(field.message_type, name, written=written)
        return _scalar(field, rule)


def _scalar(field: FieldDescriptor, rule: FieldRule) -> Json:
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if field.cpp_type in _RANGES:
        least, most = _RANGES[field.cpp_type]
        return {
            "type": "integer",
            "minimum": least if rule.minimum is None else max(least, rule.minimum),
            "maximum": most if rule.maximum is None else min(most, rule.maximum),
        }
    if field.cpp_type in _NUMBERS:
        return {"type": "number"}
    return {"type": "boolean"} if field.type == FieldDescriptor.TYPE_BOOL else _string(field, rule)


def _string(field: FieldDescriptor, rule: FieldRule) -> Json:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    schema: Json = {"type": "string", **_FORMATS.get(rule.format, {})}
    if least := max(rule.min_length, int(rule.required)):
        schema["minLength"] = least
    if rule.max_length:
        schema["maxLength"] = rule.max_length
    return schema


def _enum(enum: EnumDescriptor) -> Json:
    return {"type": "string", "enum": list(json_names(enum).values())}


def _or_null(schema: Json) -> Json:
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    if isinstance(schema["type"], list):
        return schema  # any JSON, so null as well
    nullable = {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable
