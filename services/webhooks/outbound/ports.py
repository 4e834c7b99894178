"""The ports to which posts may go."""

from typing import Any, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_HIGHEST = 65_535


class PortRanges:
    """Ports, and ranges of them with both ends: `80,443,1024-65535`."""

    __slots__ = ("_ranges",)

    def __init__(self, *ranges: range) -> None:
        self._ranges = ranges

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` writes. Raises ValueError."""
        return cls(*(_range(part.strip()) for part in text.split(",")))

    def __contains__(self, port: int) -> bool:
        return any(port in each for each in self._ranges)

    def __str__(self) -> str:
        return ",".join(
            f"{each.start}" if len(each) == 1 else f"{each.start}-{each.stop - 1}" for each in self._ranges
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read from a string, written as one."""
        return core_schema.union_schema(
            [
                core_schema.is_instance_schema(cls),
                core_schema.no_info_after_validator_function(cls.parse, core_schema.str_schema()),
            ],
            serialization=core_schema.to_string_ser_schema(),
        )


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    lowest = _port(first)
    highest = _port(last) if dash else lowest
    if lowest > highest:
        raise ValueError("must be ports and ranges of them, as in 80,443,1024-65535")
    return range(lowest, highest + 1)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= _HIGHEST):
        raise ValueError("must be ports and ranges of them, as in 80,443,1024-65535")
    return int(text)
