"""Our side of a sync: the contacts service and the suppression list, as the integrations process asks them."""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from uuid import UUID

import orjson

from chassis.context import RequestContext
from chassis.email_address import EmailAddress
from chassis.errors import InvalidRequest
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import contacts_pb2
from flownurture.contacts.v1 import synced_contacts_pb2 as pb
from flownurture.contacts.v1.synced_contacts_pb2_grpc import SyncedContactServiceStub
from flownurture.suppression.v1.reported_opt_outs_pb2 import TakeOptOutsRequest
from flownurture.suppression.v1.reported_opt_outs_pb2_grpc import ReportedOptOutServiceStub
from services.integrations.sync.merging import Value
from services.integrations.sync.our_fields import FieldType, OurField

# Fields of ours, by the names that mappings have for them.
EMAIL = "email"
OWN_FIELDS = ("first_name", "last_name", "time_zone")
CUSTOM = "custom."

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CALL_SECONDS = 30.0
_STREAM_SECONDS = 3_600.0
_BATCH = 500
_NO_CONTACT = "No contact can have what the CRM has of it."
# Who does not want mail, in whichever way that became known: the CRM is told. A mailbox that does not exist has said nothing.
_OPTED_OUT = {contacts_pb2.CONTACT_STATUS_UNSUBSCRIBED, contacts_pb2.CONTACT_STATUS_COMPLAINED}


@dataclass(frozen=True, slots=True)
class OurContact:
    """A contact as it was read. `version` changes with it."""

    id: UUID
    email: str
    values: Mapping[str, Value]
    opted_out: bool
    version: int

    @property
    def changed_at(self) -> datetime:
        """When it was changed last."""
        return _EPOCH + timedelta(microseconds=self.version)


@dataclass(frozen=True, slots=True)
class Batch:
    """Contacts in columns, as they come, of which those are made that are asked for: in a first sync most are linked already."""

    ids: Sequence[UUID]
    _columns: pb.SyncedContactBatch
    _fields: Sequence[str]

    def without(self, ids: Collection[UUID]) -> list[OurContact]:
        """The others."""
        places = [place for place, contact_id in enumerate(self.ids) if contact_id not in ids]
        return list(_contacts_of(self._columns, self._fields, places))


class Written(Enum):
    """What became of a contact that was to be written."""

    CREATED = auto()
    CHANGED = auto()
    STALE = auto()
    GONE = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class ToWrite:
    """Values for a contact, at the version at which it was read, or for whoever has the address."""

    values: Mapping[str, Value]
    email: str = ""
    contact_id: UUID | None = None
    expected_version: int = 0


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """What became of one."""

    written: Written
    contact_id: UUID | None
    message: str = ""


_WRITTEN = {
    pb.SYNC_RESULT_CREATED: Written.CREATED,
    pb.SYNC_RESULT_CHANGED: Written.CHANGED,
    pb.SYNC_RESULT_UNCHANGED: Written.CHANGED,
    pb.SYNC_RESULT_STALE: Written.STALE,
    pb.SYNC_RESULT_GONE: Written.GONE,
}
_TYPES = {pb.SyncedFieldType.Value(f"SYNCED_FIELD_TYPE_{kind.name}"): kind for kind in FieldType}


class Contacts:
    """Contacts of the context's organization."""

    def __init__(self, contacts: Peer, suppression: Peer) -> None:
        self._contacts = contacts
        self._suppression = suppression

    async def fields(self, context: RequestContext) -> list[OurField]:
        """What contacts have that can be kept in step, the address apart. A field of a type that is not known here cannot."""
        stub = SyncedContactServiceStub(self._contacts.channel)
        answer = await self._contacts.call(
            stub.DescribeSyncedFields, pb.DescribeSyncedFieldsRequest(), context, _CALL_SECONDS
        )
        return [_field(each) for each in answer.fields if each.type in _TYPES]

    async def read(
        self, context: RequestContext, keys: Sequence[UUID | str], fields: Sequence[str]
    ) -> dict[int, OurContact]:
        """Those with these ids or addresses, by their place among the keys."""
        if not keys:
            return {}
        stub = SyncedContactServiceStub(self._contacts.channel)
        request = pb.ReadContactsRequest(
            contacts=[
                pb.SyncedContactKey(contact_id=key.bytes)
                if isinstance(key, UUID)
                else pb.SyncedContactKey(email=key)
                for key in keys
            ],
            custom_fields=custom_keys(fields),
        )
        answer = await self._contacts.call(stub.ReadContacts, request, context, _CALL_SECONDS)
        contacts = _contacts_of(answer.contacts, fields, range(len(answer.places)))
        return dict(zip(answer.places, contacts, strict=True))

    async def find(
        self, context: RequestContext, emails: Sequence[str], fields: Sequence[str]
    ) -> dict[str, OurContact]:
        """Those who have these addresses, by the address as it is given. What is none is nobody's."""
        valid = [email for email in emails if _is_address(email)]
        found = await self.read(context, valid, fields)
        return {valid[place]: contact for place, contact in found.items()}

    async def stream(
        self, context: RequestContext, fields: Sequence[str], after: UUID | None
    ) -> AsyncIterator[Batch]:
        """All contacts, by ascending id, behind one of them."""
        stub = SyncedContactServiceStub(self._contacts.channel)
        request = pb.StreamContactsRequest(
            batch_size=_BATCH,
            after_contact_id=after.bytes if after else b"",
            custom_fields=custom_keys(fields),
        )
        async for batch in self._contacts.stream(stub.StreamContacts, request, context, _STREAM_SECONDS):
            yield Batch([UUID(bytes=contact_id) for contact_id in batch.contact_ids], batch, fields)

    async def write(
        self, context: RequestContext, connection_id: UUID, writes: Sequence[ToWrite]
    ) -> list[WriteOutcome]:
        """Write them; what became of each, in their order. One that no contact can be is refused, and holds up no other."""
        if not writes:
            return []
        try:
            return await self._written(context, connection_id, writes)
        except InvalidRequest:
            # The request is refused as a whole, and does not say for which of them.
            if len(writes) == 1:
                return [WriteOutcome(Written.REFUSED, writes[0].contact_id, _NO_CONTACT)]
        half = len(writes) // 2
        first = await self.write(context, connection_id, writes[:half])
        return first + await self.write(context, connection_id, writes[half:])

    async def opt_out(self, context: RequestContext, emails: Sequence[str], note: str) -> None:
        """Put people on the suppression list who have opted out in the CRM. What is no address is nobody's."""
        if valid := [bare for email in emails if _is_address(bare := email.strip())]:
            stub = ReportedOptOutServiceStub(self._suppression.channel)
            request = TakeOptOutsRequest(emails=valid, note=note)
            await self._suppression.call(stub.TakeOptOuts, request, context, _CALL_SECONDS)

    async def _written(
        self, context: RequestContext, connection_id: UUID, writes: Sequence[ToWrite]
    ) -> list[WriteOutcome]:
        stub = SyncedContactServiceStub(self._contacts.channel)
        request = pb.WriteContactsRequest(contacts=map(_write, writes), source_id=connection_id.bytes)
        answer = await self._contacts.call(stub.WriteContacts, request, context, _CALL_SECONDS)
        return [
            WriteOutcome(
                _WRITTEN.get(outcome.result, Written.REFUSED),
                UUID(bytes=outcome.contact_id) if outcome.contact_id else None,
                outcome.message,
            )
            for outcome in answer.outcomes
        ]


def _field(told: pb.SyncedField) -> OurField:
    name = CUSTOM + told.name if told.is_custom else told.name
    return OurField(name, told.label, _TYPES[told.type], tuple(told.choices), told.max_length)


def _is_address(email: str) -> bool:
    try:
        EmailAddress.parse(email)
    except ValueError:
        return False
    return True


def custom_keys(fields: Sequence[str]) -> list[str]:
    """The keys of the custom fields among these."""
    return [name.removeprefix(CUSTOM) for name in fields if name.startswith(CUSTOM)]


def _contacts_of(
    batch: pb.SyncedContactBatch, fields: Sequence[str], places: Iterable[int]
) -> Iterator[OurContact]:
    own = {name: getattr(batch, f"{name}s") for name in OWN_FIELDS if name in fields}
    for place in places:
        values: dict[str, Value] = {name: column[place] or None for name, column in own.items()}
        if batch.custom_fields:
            for key, value in orjson.loads(batch.custom_fields[place]).items():
                values[CUSTOM + key] = value
        yield OurContact(
            UUID(bytes=batch.contact_ids[place]),
            batch.emails[place],
            values,
            batch.statuses[place] in _OPTED_OUT,
            batch.versions[place],
        )


def _write(given: ToWrite) -> pb.SyncedContactWrite:
    message = pb.SyncedContactWrite(
        contact_id=given.contact_id.bytes if given.contact_id else b"",
        email=given.email,
        expected_version=given.expected_version,
    )
    custom = {}
    for name, value in given.values.items():
        if name.startswith(CUSTOM):
            custom[name.removeprefix(CUSTOM)] = value
        else:
            setattr(message, name, "" if value is None else str(value))
    if custom:
        message.custom_fields = orjson.dumps(custom).decode()
    return message
