"""Write docs/events.md, what is told of and what each event holds, from the contract: `python -m proto.event_table docs/events.md`."""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from chassis.contract.comments import Comments
from deploy.nats.topology import Stream, topology
from flownurture.options.v1 import event_pb2, webhook_pb2
from proto.lint import compile_image, house_files

OPENING = """# Events

Made from `proto/` and `deploy/nats/streams.toml` by `make events`, and compared by `make lint`; do not edit.

## What webhooks tell

The `data` of each type, posted in the envelope that [webhooks](webhooks.md) describe. Fields are only ever added."""

BUS = """## On the bus

What processes tell each other over NATS, each in an `Envelope` (`proto/flownurture/events/v1`) that says whose it is, when it happened, and by which id
it is known. No client sees them. A fact is kept for a week, for every reader at its own pace; an order is gone when it is carried out."""

SCALARS = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in FieldDescriptor.__dict__.items()
    if name.startswith("TYPE_")
}


def page(files: Iterable[FileDescriptor], comments: Comments) -> str:
    """The whole page."""
    files = list(files)
    messages = [message for file in files for message in file.message_types_by_name.values()]
    told = [section for message in messages for section in _webhook(message, comments)]
    domains = [
        section
        for file in files
        if file.name.endswith("/events.proto")
        for section in _domain(file, comments)
    ]
    return "\n\n".join([OPENING, *told, BUS, *domains]) + "\n"


def _webhook(message: Descriptor, comments: Comments) -> Iterator[str]:
    """A type of webhook event, by the name that endpoints take it by."""
    kind = message.GetOptions().Extensions[webhook_pb2.webhook].type
    if kind:
        yield f"### {kind}\n\n{_plain(comments.of(message))}"
        yield _fields(message, comments)


def _domain(file: FileDescriptor, comments: Comments) -> Iterator[str]:
    """What one domain tells, and the parts that its events have in common."""
    domain = file.package.split(".")[1]
    yield f"### {domain}"
    messages = sorted(file.message_types_by_name.values(), key=lambda message: not _subject(message))
    for message in messages:
        heading = f"#### {message.name}"
        if subject := _subject(message):
            stream = _stream_of(subject)
            readers = ", ".join(stream.readers) or "nobody"
            told = "An order, carried out by" if stream.orders else "Read by"
            heading += f"\n\n`{subject}`, on stream `{stream.name}`. {told}: {readers}."
        yield heading
        if comment := comments.of(message):
            yield _plain(comment)
        yield _fields(message, comments)


def _subject(message: Descriptor) -> str:
    subject: str = message.GetOptions().Extensions[event_pb2.subject]
    return subject


def _stream_of(subject: str) -> Stream:
    """Orders have streams of their own; facts lie in that of their domain."""
    streams = topology().streams
    domain = subject.rsplit(".", 1)[0]
    (stream,) = (each for each in streams if each.subject in (subject, f"{domain}.*"))
    return stream


def _fields(message: Descriptor, comments: Comments) -> str:
    rows = [f"| `{field.name}` | {_type(field)} | {_plain(comments.of(field))} |" for field in message.fields]
    return "\n".join(["| field | type | |", "|---|---|---|", *rows]) if rows else "It holds nothing."


def _type(field: FieldDescriptor) -> str:
    named = field.message_type or field.enum_type
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        return f"{_type(value)} by {_type(key)}"
    kind = named.name if named is not None else SCALARS[field.type]
    return f"list of {kind}" if field.is_repeated else kind


def _plain(text: str) -> str:
    """A comment is no Markdown: what would be markup there is shown as it is."""
    return re.sub(r"[|<*]", r"\\\g<0>", text)


def main(target: Path) -> None:
    """Write the page of the contract as it stands."""
    with TemporaryDirectory() as folder:
        image = Path(folder) / "contract.binpb"
        compile_image(image)
        files = FileDescriptorSet.FromString(image.read_bytes())
    target.write_text(page(house_files(files), Comments(files)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
