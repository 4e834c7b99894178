"""Password hashes: argon2id (RFC 9106) with the parameters OWASP recommends.

Hashing takes tens of milliseconds and 19 MiB, so it runs in a few threads of its own: the event loop
never waits for it, and a burst of log-ins queues instead of taking all memory.
"""

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from chassis.secret import Secret

_THREADS = 2


class Passwords:
    """Hashes and verifies passwords off the event loop.

    An async context manager: entering it makes the hash that log-ins to unknown accounts are checked against.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher(
            time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16, type=Type.ID
        )
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="argon2")
        self._nobodys_hash = ""

    async def __aenter__(self) -> Self:
        self._nobodys_hash = await self.hash(Secret("the password of nobody"))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: Secret) -> str:
        """The PHC string to store for a password."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._hasher.hash, _prepared(password))

    async def verify(self, password_hash: str | None, password: Secret) -> bool:
        """Whether the password fits. Without an account (None) the same work is done, and the answer is no."""
        loop = asyncio.get_running_loop()
        known = password_hash or self._nobodys_hash
        fits = await loop.run_in_executor(self._threads, self._fits, known, _prepared(password))
        return fits and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's and should be made anew."""
        return self._hasher.check_needs_rehash(password_hash)

    def _fits(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


def _prepared(password: Secret) -> str:
    """The same password typed on another keyboard has the same bytes (RFC 8265 §4.2.2: NFC)."""
    return unicodedata.normalize("NFC", password.reveal())
