"""What this process has begun to hand over, in memory that outlives it: a file that is mapped, not written.

A process that is killed leaves its pages to the kernel, so who comes after it knows what was said to a relay and what was answered.
A machine that fails may lose pages, so a journal is believed within the boot that it was made in alone.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from mmap import mmap
from pathlib import Path
from struct import Struct
from typing import Self
from uuid import UUID

from services.sending.bounces import Classification, Kind
from services.sending.delivery.replies import Verdict
from services.sending.statuses import MessageStatus

_MAGIC = b"FNJ1"
_NOBODY = bytes(16)
# Magic, boot, the token that everything is claimed with.
_HEADER = Struct("<4s16s16s")
# Whether it holds something, its message, its token, the length of the verdict's text; the verdict follows.
_SLOT = Struct("<B16s16sH")
_SLOT_BYTES = 256
_MOST_TOLD = _SLOT_BYTES - _SLOT.size
# More than all connections together can have begun and not yet seen written to the database.
_SLOTS = 8_192
# So many messages can be on their way at once, at the most, when room is looked for.
_SPARE = 256
_FREE, _BEGUN = 0, 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Remains:
    """What a process left behind: all that was claimed with its token and is not in here it has not begun."""

    token: UUID
    # None where the answer of the relay is not known.
    begun: Mapping[UUID, Verdict | None]


class Journal:
    """A file of a folder that no other process has, from entering to leaving."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._free = list(range(_SLOTS))

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = _own(self._folder)
        os.ftruncate(self._file, _SLOT_BYTES * (_SLOTS + 1))
        self._map = mmap(self._file, _SLOT_BYTES * (_SLOTS + 1))
        self.claim_with(None)
        return self

    async def __aexit__(self, *_: object) -> None:
        # Whatever is in it now is settled, or in doubt by the lease.
        self._map.close()
        os.ftruncate(self._file, 0)
        os.close(self._file)

    def claim_with(self, token: UUID | None) -> None:
        """From now on everything is claimed with this token; with none, what is in here says nothing."""
        _HEADER.pack_into(self._map, 0, _MAGIC, _boot(), token.bytes if token else _NOBODY)

    @property
    def has_room(self) -> bool:
        """Whether more may be begun: results have been written for long enough ago to make room for their notes."""
        return len(self._free) > _SPARE

    def begin(self, message_id: UUID, token: UUID) -> int:
        """Note that a message is said to a relay from now on; answers the place of the note."""
        place = self._free.pop()
        at = _SLOT_BYTES * (place + 1)
        _SLOT.pack_into(self._map, at, _FREE, message_id.bytes, token.bytes, 0)
        # Last: a note counts as a whole or not at all.
        self._map[at] = _BEGUN
        return place

    def answered(self, place: int, verdict: Verdict) -> None:
        """Note what became of it."""
        at = _SLOT_BYTES * (place + 1)
        told = _told(verdict)
        self._map[at + _SLOT.size : at + _SLOT.size + len(told)] = told
        state, message, token, _ = _SLOT.unpack_from(self._map, at)
        _SLOT.pack_into(self._map, at, state, message, token, len(told))

    def forget(self, place: int) -> None:
        """It is written to the database."""
        self._map[_SLOT_BYTES * (place + 1)] = _FREE
        self._free.append(place)


def left_behind(folder: Path) -> Iterator[Remains]:
    """What dead processes of this boot have left in the folder; each is cleared when the next one is asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("*.journal")):
        file = _locked(path)
        if file is None:
            continue
        try:
            remains = _read(path.read_bytes())
            if remains is not None:
                yield remains
            os.ftruncate(file, 0)
        finally:
            os.close(file)


def _own(folder: Path) -> int:
    """A file that nobody else has, locked as long as it is open, and empty: somebody's remains are read first."""
    for number in range(1_000):
        file = _locked(folder / f"{number}.journal")
        if file is not None and os.fstat(file).st_size == 0:
            return file
        if file is not None:
            os.close(file)
    raise RuntimeError(f"no journal is free in {folder}")


def _locked(path: Path) -> int | None:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file
    os.close(file)
    return None


def _read(content: bytes) -> Remains | None:
    if len(content) < _SLOT_BYTES:
        return None
    magic, boot, token = _HEADER.unpack_from(content)
    if magic != _MAGIC or boot != _boot() or token == _NOBODY:
        return None
    begun: dict[UUID, Verdict | None] = {}
    for at in range(_SLOT_BYTES, len(content), _SLOT_BYTES):
        state, message, claimed_with, length = _SLOT.unpack_from(content, at)
        if state == _BEGUN and claimed_with == token:
            told = content[at + _SLOT.size : at + _SLOT.size + length]
            begun[UUID(bytes=message)] = _verdict(told) if told else None
    return Remains(UUID(bytes=token), begun)


def _told(verdict: Verdict) -> bytes:
    pause = verdict.retry_after.total_seconds() if verdict.retry_after else None
    words = verdict.detail
    classified = [verdict.classified.kind, verdict.classified.rule] if verdict.classified else None
    while len(told := json.dumps([verdict.status.value, pause, classified, words]).encode()) > _MOST_TOLD:
        words = words[: len(words) - max(1, (len(told) - _MOST_TOLD) // 6)]
    return told


def _verdict(told: bytes) -> Verdict:
    status, pause, classified, detail = json.loads(told)
    return Verdict(
        MessageStatus(status),
        detail,
        retry_after=None if pause is None else timedelta(seconds=pause),
        classified=_classified(classified),
    )


def _classified(told: list[str] | bool | None) -> Classification | None:
    if isinstance(told, list):
        kind, rule = told
        return Classification(Kind(kind), rule)
    # Processes that knew no rules noted whether the address is bad.
    return Classification(Kind.HARD) if told else None


def _boot() -> bytes:
    return UUID(_BOOT_ID.read_text().strip()).bytes
