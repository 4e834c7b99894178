"""A document taken apart: each message in it, with its path as a client knows it."""

from collections.abc import Iterator

from google.protobuf.message import Message

from flownurture.sending.v1 import workflows_pb2 as pb

_PACKAGE = pb.DESCRIPTOR.package


def parts(document: pb.WorkflowDocument) -> Iterator[tuple[str, Message]]:
    """Every message of a workflow's own within it, as it is written from first to last. Rules are whole: they are contacts'."""
    for name, part in _within(document):
        yield from _all(name, part)


def _all(path: str, part: Message) -> Iterator[tuple[str, Message]]:
    yield path, part
    for name, inner in _within(part):
        yield from _all(f"{path}.{name}", inner)


def _within(message: Message) -> Iterator[tuple[str, Message]]:
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.file.package != _PACKAGE:
            continue
        if field.is_repeated:
            for index, element in enumerate(value):
                yield f"{field.name}[{index}]", element
        else:
            yield field.name, value
