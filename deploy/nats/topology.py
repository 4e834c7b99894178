"""Streams, their readers and the users of the event bus, as `streams.toml` lists them."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream, where its events come from and who reads it. Orders are gone once they are carried out."""

    name: str
    publisher: str
    subject: str
    readers: tuple[str, ...]
    orders: bool
    ack_wait_seconds: float
    max_ack_pending: int
    max_age_hours: int | None


@dataclass(frozen=True, slots=True)
class Topology:
    """The whole of it."""

    processes: tuple[str, ...]
    streams: tuple[Stream, ...]

    def may_publish(self, process: str) -> list[str]:
        """The subjects on which a process may publish: its own domain's, and what reading its streams takes."""
        read = [stream.name for stream in self.streams if process in stream.readers]
        return [
            f"flownurture.{process}.>",
            *(f"$JS.API.CONSUMER.MSG.NEXT.{name}.{process}" for name in read),
            *(f"$JS.ACK.{name}.{process}.>" for name in read),
        ]

    def may_subscribe(self, process: str) -> list[str]:
        """The subjects to which a process may listen: replies to itself."""
        return [f"_INBOX.{process}.>"]


@cache
def topology() -> Topology:
    """Read the list."""
    listed = tomllib.loads(files(__package__).joinpath("streams.toml").read_text())
    facts, work = listed["facts"], listed["work"]
    streams = [
        Stream(
            process.upper(),
            process,
            f"flownurture.{process}.*",
            tuple(readers),
            orders=False,
            ack_wait_seconds=facts["ack_wait_seconds"],
            max_ack_pending=facts["max_ack_pending"],
            max_age_hours=facts["max_age_hours"],
        )
        for process, readers in listed["readers"].items()
    ]
    streams += [
        Stream(
            order["stream"],
            order["from"],
            f"flownurture.{order['from']}.work.{order['order']}",
            (order["to"],),
            orders=True,
            ack_wait_seconds=work["ack_wait_seconds"],
            max_ack_pending=work["max_ack_pending"],
            max_age_hours=None,
        )
        for order in listed["orders"]
    ]
    return Topology(tuple(listed["processes"]), tuple(streams))
