"""From keys of one's own to a key service: what the former have wrapped is still opened, until all is wrapped again."""

from collections.abc import Mapping

from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.wrapping import Wrapped, Wrapping


class Succession:
    """Wraps by the new keeper; unwraps by whichever has the key."""

    def __init__(self, new: Wrapping, former: FileWrapping) -> None:
        self._new = new
        self._former = former

    async def current_key(self) -> str:
        """That of the new keeper."""
        return await self._new.current_key()

    async def wrap(self, plain: bytes, context: Mapping[str, str]) -> Wrapped:
        """By the new keeper."""
        return await self._new.wrap(plain, context)

    async def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        """By whoever has the key. Raises DoesNotOpen, Unavailable."""
        keeper = self._former if self._former.has(wrapped.key) else self._new
        return await keeper.unwrap(wrapped, context)
