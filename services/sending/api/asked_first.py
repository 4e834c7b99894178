"""Calls that are answered in one transaction, as those that take a session are, and ask another process before it.

No transaction is open while the other process thinks; and of a request that is repeated under its idempotency key it is not asked again.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import DomainError
from chassis.idempotency import KeyedRequest, fingerprint_of, recall, remembered

Told = TypeVar("Told")
Response = TypeVar("Response", bound=Message)


class AskedFirst:
    """A request to such an RPC."""

    def __init__(
        self, database: Database, context: RequestContext, method: MethodDescriptor, request: Message
    ) -> None:
        self._database = database
        self._context = context
        self._method = method.full_name
        self._fingerprint = fingerprint_of(self._method, request)

    async def answer(
        self,
        ask: Callable[[], Awaitable[Told]],
        make: Callable[[TenantSession, Told], Awaitable[Response]],
    ) -> Response:
        """What `make` answers with what was told, or did when the key was first used. Raises what both do, and as `remembered`."""
        earlier = await self._earlier()
        if earlier is not None:
            return cast(Response, earlier)
        told = await ask()
        async with self._database.tenant_transaction(self._context) as session:
            return await remembered(
                session, self._context, self._method, self._fingerprint, lambda: make(session, told)
            )

    async def _earlier(self) -> Message | None:
        keyed = KeyedRequest.of(self._context, self._method, self._fingerprint)
        if keyed is None:
            return None
        async with self._database.tenant_transaction(self._context, read_only=True) as session:
            (earlier,) = await recall(session, [keyed])
        if isinstance(earlier, DomainError):
            raise earlier
        return earlier
