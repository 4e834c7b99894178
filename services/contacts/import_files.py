"""The stored file of an import, read from any offset on, a part at a time."""

from uuid import UUID

from sqlalchemy import select

from chassis.context import RequestContext
from chassis.database import Database
from services.contacts.tables import import_parts
from services.contacts.uploads import PART_SIZE

# What a reader gets at least, unless the file ends: more than a row may have, and some thousand rows.
_LEAST_AHEAD = 256 << 10


class ImportFile:
    """Answers what follows an offset; keeps what it has loaded, so that reading on loads every part once."""

    def __init__(self, database: Database, context: RequestContext, import_id: UUID, size: int) -> None:
        self._database = database
        self._context = context
        self._import_id = import_id
        self._size = size
        self._offset = 0
        self._loaded = b""

    async def read(self, offset: int) -> tuple[bytes, bool]:
        """The bytes from `offset` on, at least 256 KiB unless the file ends with them, and whether it does."""
        if not self._offset <= offset <= self._offset + len(self._loaded):
            self._offset = offset - offset % PART_SIZE
            self._loaded = b""
        while len(self._loaded) - (offset - self._offset) < _LEAST_AHEAD and not self._at_end():
            self._loaded += await self._part((self._offset + len(self._loaded)) // PART_SIZE)
        self._loaded = self._loaded[offset - self._offset :]
        self._offset = offset
        return self._loaded, self._at_end()

    def _at_end(self) -> bool:
        return self._offset + len(self._loaded) >= self._size

    async def _part(self, number: int) -> bytes:
        async with self._database.tenant_transaction(self._context, read_only=True) as session:
            content = await session.scalar(
                select(import_parts.c.content).where(
                    import_parts.c.import_id == self._import_id, import_parts.c.number == number
                )
            )
        return bytes(content)
