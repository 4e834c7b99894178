"""What the contract says of its parts. Python code does not keep it; `contract.binpb` does, beside that code."""

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet, SourceCodeInfo

import flownurture


class Comments:
    """What the contract says of its parts, by their full names."""

    def __init__(self, files: FileDescriptorSet) -> None:
        self._texts: dict[str, str] = {}
        for file in files.file:
            places = {tuple(each.path): _text(each) for each in file.source_code_info.location}
            for index, service in enumerate(file.service):
                name = f"{file.package}.{service.name}"
                self._texts[name] = places.get((6, index), "")
                for number, method in enumerate(service.method):
                    self._texts[f"{name}.{method.name}"] = places.get((6, index, 2, number), "")
            for index, message in enumerate(file.message_type):
                self._read_message(message, file.package, (4, index), places)

    def of(self, part: Any) -> str:
        """The comment before a service, method, message or field; empty when there is none."""
        return self._texts.get(part.full_name, "")

    def _read_message(
        self, message: DescriptorProto, scope: str, path: tuple[int, ...], places: dict[tuple[int, ...], str]
    ) -> None:
        name = f"{scope}.{message.name}"
        self._texts[name] = places.get(path, "")
        for index, field in enumerate(message.field):
            self._texts[f"{name}.{field.name}"] = places.get((*path, 2, index), "")
        for index, nested in enumerate(message.nested_type):
            self._read_message(nested, name, (*path, 3, index), places)


@cache
def comments() -> Comments:
    """Those of the whole contract, read once."""
    root = next(iter(flownurture.__path__))
    return Comments(FileDescriptorSet.FromString(Path(root, "contract.binpb").read_bytes()))


def _text(location: SourceCodeInfo.Location) -> str:
    return " ".join(location.leading_comments.split())
