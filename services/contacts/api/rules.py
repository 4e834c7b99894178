"""Rules between the contract's messages and the documents that the domain reads."""

from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from flownurture.contacts.v1 import segments_pb2 as pb
from services.contacts.rules import Document

_GROUPS = ("all", "any")


def document_of(rule: pb.Rule) -> dict[str, Any]:
    """The document of a rule: the members that are given, and no others."""
    document: dict[str, Any] = {}
    for field, value in rule.ListFields():
        if field.name in _GROUPS:
            document[field.name] = [document_of(inner) for inner in value]
        elif field.name == "not":
            document[field.name] = document_of(value)
        else:
            document[field.name] = _content_of(value)
    return document


def rule_message(document: Document) -> pb.Rule:
    """The contract's rule of a document."""
    rule = pb.Rule()
    for member, content in document.items():
        if member in _GROUPS:
            getattr(rule, member).extend(rule_message(inner) for inner in content)
        elif member == "not":
            getattr(rule, member).CopyFrom(rule_message(content))
        else:
            _fill(getattr(rule, member), content)
    return rule


def _content_of(condition: Message) -> dict[str, Any]:
    content = MessageToDict(condition, preserving_proto_field_name=True)
    for field in condition.DESCRIPTOR.fields:
        if field.enum_type is not None and field.name in content:
            content[field.name] = content[field.name].removeprefix(_prefix(field.enum_type)).lower()
    return content


def _fill(condition: Message, content: Document) -> None:
    written = {}
    for name, value in content.items():
        field = condition.DESCRIPTOR.fields_by_name.get(name)
        # What the domain keeps beside the contract's own members is not the client's.
        if field is not None:
            written[name] = value if field.enum_type is None else _prefix(field.enum_type) + value.upper()
    ParseDict(written, condition)


def _prefix(enum: Any) -> str:
    return str(enum.values_by_number[0].name).removesuffix("UNSPECIFIED")
