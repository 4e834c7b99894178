"""An organization as its member uses it: what the tests of this service speak with."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from chassis.context import ActorKind, RequestContext, Role
from chassis.contract.events import message_type
from chassis.database import Database
from chassis.email_address import EmailAddress
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from chassis.secret import Secret
from chassis.tests.deadlines import until
from flownurture.contacts.v1 import (
    audience_pb2,
    bulk_changes_pb2,
    contacts_pb2,
    custom_fields_pb2,
    events_pb2,
    exports_pb2,
    form_pages_pb2,
    forms_pb2,
    imports_pb2,
    list_choices_pb2,
    lists_pb2,
    segments_pb2,
    synced_contacts_pb2,
    tags_pb2,
    workflow_contacts_pb2,
)
from flownurture.contacts.v1.audience_pb2_grpc import AudienceServiceStub
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.sending.v1.messages_pb2 import SuppressionReason
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed, SuppressedAddress, SuppressionsLifted
from services.contacts.consumers import consumers
from services.contacts.jobs import JobWorker

_UNFINISHED = (imports_pb2.IMPORT_STATUS_PENDING, imports_pb2.IMPORT_STATUS_RUNNING)
_UNFINISHED_CHANGES = (
    bulk_changes_pb2.BULK_CHANGE_STATUS_PENDING,
    bulk_changes_pb2.BULK_CHANGE_STATUS_RUNNING,
)
_SERVICES = [
    service
    for contract in (
        bulk_changes_pb2,
        contacts_pb2,
        custom_fields_pb2,
        exports_pb2,
        form_pages_pb2,
        forms_pb2,
        imports_pb2,
        list_choices_pb2,
        lists_pb2,
        segments_pb2,
        synced_contacts_pb2,
        tags_pb2,
        workflow_contacts_pb2,
    )
    for service in contract.DESCRIPTOR.services_by_name.values()
]
_RPC_OF = {
    method.input_type.full_name: (service, method) for service in _SERVICES for method in service.methods
}


# What wraps the keys of mails in tests, which open them as the delivery process would.
MAIL_KEYS = {"tests": Secret(b64encode(bytes(range(32))).decode())}


@dataclass(frozen=True)
class Workers:
    """What does an organization's long work."""

    imports: JobWorker
    bulk_changes: JobWorker


class Tenant:
    """A member of a fresh organization. Calling it with a request calls the RPC that takes such a request."""

    def __init__(self, peer: Peer, database: Database, workers: Workers) -> None:
        self.context = RequestContext(
            issuer="gateway",
            actor_kind=ActorKind.USER,
            actor_id=str(uuid4()),
            role=Role.MEMBER,
            organization_id=uuid4(),
            session_id=str(uuid4()),
            request_id=str(uuid4()),
            limits=(("contacts", 1_000_000),),
            features=frozenset({"advanced_segments"}),
        )
        self.peer = peer
        self._database = database
        self._workers = workers

    async def __call__(self, request: Message, *, key: str | None = None) -> Any:
        service, method = _RPC_OF[request.DESCRIPTOR.full_name]
        stub = self.peer.channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return await self.peer.call(stub, request, self._with_key(key))

    def called_by(self, peer: Peer) -> "Tenant":
        """The same organization, on whose behalf another process calls."""
        other = Tenant(peer, self._database, self._workers)
        other.context = self.context
        return other

    async def upload(self, file: bytes, *, key: str | None = None, piece: int = 1 << 16, **how: Any) -> Any:
        """Upload a file in pieces; it waits to be imported."""
        options = imports_pb2.CreateImportRequest(options=imports_pb2.ImportOptions(**how))
        pieces = [file[start : start + piece] for start in range(0, len(file), piece)]
        return await self.stream(
            [options, *(imports_pb2.CreateImportRequest(chunk=part) for part in pieces)], key=key
        )

    async def stream(self, requests: list[imports_pb2.CreateImportRequest], *, key: str | None = None) -> Any:
        """Send these messages as an upload."""

        async def sent() -> AsyncIterator[imports_pb2.CreateImportRequest]:
            for request in requests:
                yield request

        stub = self.peer.channel.stream_unary(
            "/flownurture.contacts.v1.ImportService/CreateImport",
            request_serializer=imports_pb2.CreateImportRequest.SerializeToString,
            response_deserializer=imports_pb2.Import.FromString,
        )
        return await self.peer.call(stub, sent(), self._with_key(key), timeout=60)

    async def stream_and_vanish(self, requests: list[imports_pb2.CreateImportRequest]) -> None:
        """Send these messages as an upload, and be gone before its end; returns when the service has noticed."""

        async def sent() -> AsyncIterator[imports_pb2.CreateImportRequest]:
            for request in requests:
                yield request
            raise ConnectionAbortedError

        def noticed() -> float:
            labels = {"method": "/flownurture.contacts.v1.ImportService/CreateImport", "code": "CANCELLED"}
            return REGISTRY.get_sample_value("flownurture_rpc_seconds_count", labels) or 0

        stub = self.peer.channel.stream_unary(
            "/flownurture.contacts.v1.ImportService/CreateImport",
            request_serializer=imports_pb2.CreateImportRequest.SerializeToString,
            response_deserializer=imports_pb2.Import.FromString,
        )
        before = noticed()
        with pytest.raises(asyncio.CancelledError):
            await self.peer.call(stub, sent(), self.context)
        await until(lambda: noticed() > before)

    async def import_file(self, file: bytes, **how: Any) -> Any:
        """Upload a file and import it to its end."""
        return await self.finish((await self.upload(file, **how)).id)

    async def finish(self, import_id: str) -> Any:
        """Let a worker go on with an import until it ends."""
        while (found := await self(imports_pb2.GetImportRequest(import_id=import_id))).status in _UNFINISHED:
            await self._workers.imports.take_turn(self.context, UUID(import_id))
        return found

    async def change_all(self, request: bulk_changes_pb2.CreateBulkChangeRequest) -> Any:
        """Begin a bulk change, and let a worker carry it out to its end."""
        return await self.finish_change((await self(request)).id)

    async def finish_change(self, bulk_change_id: str) -> Any:
        """Let a worker go on with a bulk change until it ends."""
        asked = bulk_changes_pb2.GetBulkChangeRequest(bulk_change_id=bulk_change_id)
        while (found := await self(asked)).status in _UNFINISHED_CHANGES:
            await self._workers.bulk_changes.take_turn(self.context, UUID(bulk_change_id))
        return found

    async def download(self, request: Message) -> bytes:
        """The whole of a file."""
        service, method = _RPC_OF[request.DESCRIPTOR.full_name]
        stub: Any = self.peer.channel.unary_stream(
            f"/{service.full_name}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return b"".join([piece.data async for piece in self.peer.stream(stub, request, self.context)])

    def stream_recipients(
        self, request: audience_pb2.StreamRecipientsRequest
    ) -> AsyncIterator[audience_pb2.RecipientBatch]:
        """An audience, as the sending process asks for it."""
        audience = AudienceServiceStub(self.peer.channel)
        return self.peer.stream(audience.StreamRecipients, request, self.context)

    async def declare(self, key: str, kind: str, *choices: str) -> Any:
        """Declare a custom field."""
        number = custom_fields_pb2.CustomFieldType.Value(f"CUSTOM_FIELD_TYPE_{kind.upper()}")
        return await self(custom_fields_pb2.CreateCustomFieldRequest(key=key, type=number, choices=choices))

    async def add(self, email: str, **fields: Any) -> contacts_pb2.Contact:
        """Create a contact."""
        contact: contacts_pb2.Contact = await self(contacts_pb2.CreateContactRequest(email=email, **fields))
        return contact

    async def add_list(self, name: str = "Readers") -> lists_pb2.List:
        """Create a list."""
        created: lists_pb2.List = await self(lists_pb2.CreateListRequest(name=name))
        return created

    async def everybody(self) -> dict[str, contacts_pb2.Contact]:
        """All contacts, by address."""
        found: dict[str, contacts_pb2.Contact] = {}
        token, more = "", True
        while more:
            page = await self(contacts_pb2.ListContactsRequest(page_size=500, page_token=token))
            found |= {contact.email: contact for contact in page.contacts}
            token, more = page.next_page_token, bool(page.next_page_token)
        return found

    async def count(self, table: str) -> int:
        """How many rows of a table the organization has."""
        async with self._database.tenant_transaction(self.context) as session:
            return int(await session.scalar(text(f"SELECT count(*) FROM {table}")))

    async def execute(self, statement: str) -> None:
        """Change rows behind the service's back."""
        async with self._database.tenant_transaction(self.context) as session:
            await session.execute(text(statement))

    async def refused(self, statement: str) -> bool:
        """Whether the service's own role may not do that to its rows."""
        try:
            await self.execute(statement)
        except ProgrammingError:
            return True
        return False

    def allow(self, **limits: int) -> None:
        """Put the organization on a plan."""
        self.context = replace(self.context, limits=tuple(limits.items()))

    async def published(self) -> list[Any]:
        """The events so far, in order."""
        return [
            message_type(envelope.type).FromString(envelope.payload) for envelope in await self.envelopes()
        ]

    async def envelopes(self) -> list[Envelope]:
        """The same, in their envelopes."""
        async with self._database.tenant_transaction(self.context) as session:
            rows = await session.execute(text("SELECT envelope FROM outbox ORDER BY id"))
            return [Envelope.FromString(row.envelope) for row in rows]

    async def told_of_created(self) -> list[events_pb2.ContactsCreated]:
        """The events of new contacts so far, in order."""
        return [event for event in await self.published() if isinstance(event, events_pb2.ContactsCreated)]

    async def everything_is_relayed(self) -> bool:
        """Whether all events have reached the broker."""
        return await self.count("outbox WHERE published_at IS NULL") == 0

    async def suppress(self, email: str, reason: "SuppressionReason.ValueType") -> None:
        """Let the service hear that an address is suppressed."""
        address = SuppressedAddress(digest=EmailAddress.parse(email).digest, reason=reason)
        await self.hear(AddressesSuppressed(addresses=[address]))

    async def lift(self, email: str, reason: "SuppressionReason.ValueType") -> None:
        """Let the service hear that an address is no longer suppressed for a reason."""
        address = SuppressedAddress(digest=EmailAddress.parse(email).digest, reason=reason)
        await self.hear(SuppressionsLifted(addresses=[address]))

    async def hear(self, event: Message, event_id: UUID | None = None) -> None:
        """Let the service's consumer handle an event of another service."""
        envelope = Envelope(
            id=str(event_id or new_id()),
            organization_id=str(self.context.organization),
            type=event.DESCRIPTOR.full_name,
            payload=event.SerializeToString(),
        )
        for consumer in consumers(None, self._database):  # type: ignore[arg-type]
            await consumer.handle(envelope.SerializeToString())

    def _with_key(self, key: str | None) -> RequestContext:
        return replace(self.context, idempotency_key=key)
