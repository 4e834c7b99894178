"""A file on its way in: kept beside the process until it is whole, so that half a file never reaches the database."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

# A file is stored in parts of this many bytes, the last one shorter. Also what an upload holds in memory.
PART_SIZE = 1 << 20


class Upload:
    """A file received piece by piece. It has no name on the disk, and is gone when the block or the process ends."""

    def __init__(self) -> None:
        self.size = 0
        self._hash = sha256()
        self._file = SpooledTemporaryFile(max_size=PART_SIZE)  # noqa: SIM115 — __exit__ closes it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def digest(self) -> bytes:
        """SHA-256 of what has been received."""
        return self._hash.digest()

    async def write(self, piece: bytes) -> None:
        """Take the next piece. How large the whole may grow is for who hands it over to say."""
        self.size += len(piece)
        await asyncio.to_thread(self._write, piece)

    async def parts(self) -> AsyncIterator[bytes]:
        """The file from its beginning, in parts of PART_SIZE."""
        await asyncio.to_thread(self._file.seek, 0)
        while part := await asyncio.to_thread(self._file.read, PART_SIZE):
            yield part

    def _write(self, piece: bytes) -> None:
        self._hash.update(piece)
        self._file.write(piece)
