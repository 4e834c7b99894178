"""SyncedContactService: decode, call the domain, encode."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import FieldViolation, InvalidRequest
from flownurture.contacts.v1 import synced_contacts_pb2 as pb
from services.contacts.contact_messages import STATUSES
from services.contacts.custom_fields import (
    LONGEST_TEXT,
    CustomField,
    FieldType,
    parse_values,
    read_fields,
)
from services.contacts.events import Origin, Source
from services.contacts.identity_peer import IdentityPeer
from services.contacts.names import MAX_LENGTH, parse_name
from services.contacts.statuses import Status
from services.contacts.synced_contacts import Outcome, Result, Write, each_once, read, stream, write
from services.contacts.time_zones import parse_time_zone

_RESULTS = {result: pb.SyncResult.Value(f"SYNC_RESULT_{result.name}") for result in Result}
_TYPES = {kind: pb.SyncedFieldType.Value(f"SYNCED_FIELD_TYPE_{kind.name}") for kind in FieldType}
_OWN_FIELDS = (
    pb.SyncedField(
        name="first_name", label="First name", type=pb.SYNCED_FIELD_TYPE_NAME, max_length=MAX_LENGTH
    ),
    pb.SyncedField(
        name="last_name", label="Last name", type=pb.SYNCED_FIELD_TYPE_NAME, max_length=MAX_LENGTH
    ),
    pb.SyncedField(name="time_zone", label="Time zone", type=pb.SYNCED_FIELD_TYPE_TIME_ZONE),
)


class SyncedContactApi:
    """What other systems' copies of contacts are kept in step by. What a plan allows is asked for, since nobody's credential tells."""

    service = pb.DESCRIPTOR.services_by_name["SyncedContactService"]

    def __init__(self, database: Database, identity: IdentityPeer) -> None:
        self._database = database
        self._identity = identity

    async def write_contacts(
        self, request: pb.WriteContactsRequest, context: RequestContext
    ) -> pb.WriteContactsResponse:
        """Write each that can be. INVALID when a contact is among them twice."""
        within = await self._identity.with_limits(context)
        origin = Origin(Source.SYNC, UUID(bytes=request.source_id) if request.source_id else None)
        async with self._database.tenant_transaction(within) as session:
            fields = await read_fields(session)
            read_ones = [_read(each, fields) for each in request.contacts]
            writes = [each for each in read_ones if isinstance(each, Write)]
            if not each_once(writes):
                raise InvalidRequest(FieldViolation("contacts", "must have each contact once"))
            written = iter(await write(session, writes, origin) if writes else ())
        return pb.WriteContactsResponse(
            outcomes=[_outcome(next(written) if isinstance(each, Write) else each) for each in read_ones]
        )

    async def read_contacts(
        self, request: pb.ReadContactsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ReadContactsResponse:
        """Those of them who are there."""
        keys = [_key(each, index) for index, each in enumerate(request.contacts)]
        found = await read(session, keys, request.custom_fields)
        return pb.ReadContactsResponse(
            contacts=_batch(list(found.values()), request.custom_fields), places=list(found)
        )

    async def stream_contacts(
        self, request: pb.StreamContactsRequest, context: RequestContext
    ) -> AsyncIterator[pb.SyncedContactBatch]:
        """All contacts behind one of them, in batches."""
        batches = stream(
            self._database,
            context,
            request.custom_fields,
            after=UUID(bytes=request.after_contact_id) if request.after_contact_id else None,
            size=request.batch_size,
        )
        async for batch in batches:
            yield _batch(batch, request.custom_fields)

    async def describe_synced_fields(
        self, request: pb.DescribeSyncedFieldsRequest, context: RequestContext, session: TenantSession
    ) -> pb.DescribeSyncedFieldsResponse:
        """Contacts' own fields, and those that are declared."""
        declared = (await read_fields(session)).values()
        return pb.DescribeSyncedFieldsResponse(fields=[*_OWN_FIELDS, *map(_synced_field, declared)])


def _read(given: pb.SyncedContactWrite, fields: Mapping[str, CustomField]) -> Write | Outcome:
    """What is to be written, or why it cannot be: one of them is no reason to refuse the others."""
    contact_id = UUID(bytes=given.contact_id) if given.contact_id else None
    if contact_id is None and not given.email:
        return Outcome(Result.REFUSED, message="It has no address.")
    try:
        return Write(
            contact_id,
            EmailAddress.parse(given.email) if given.email else None,
            _parsed(given, "first_name", parse_name),
            _parsed(given, "last_name", parse_name),
            _parsed(given, "time_zone", parse_time_zone),
            parse_values(fields, _object(given.custom_fields)) if given.custom_fields else {},
            given.expected_version,
        )
    except InvalidRequest as wrong:
        first = wrong.violations[0]
        return Outcome(Result.REFUSED, contact_id, message=f"{first.field} {first.message}.")
    except ValueError as wrong:
        return Outcome(Result.REFUSED, contact_id, message=str(wrong))


def _parsed(given: pb.SyncedContactWrite, name: str, parse: Callable[[str], str]) -> str | None:
    if not given.HasField(name):  # type: ignore[arg-type]  # one of those that have presence
        return None
    try:
        return parse(getattr(given, name))
    except ValueError as wrong:
        raise ValueError(f"{name} {wrong}.") from None


def _object(text: str) -> Mapping[str, object]:
    found = orjson.loads(text)
    if not isinstance(found, dict):
        raise ValueError("custom_fields must be an object.")  # noqa: TRY004 - a sentence of its outcome
    return found


def _key(given: pb.SyncedContactKey, index: int) -> UUID | EmailAddress:
    try:
        return UUID(bytes=given.contact_id) if given.contact_id else EmailAddress.parse(given.email)
    except ValueError as wrong:
        raise InvalidRequest(FieldViolation(f"contacts[{index}].email", str(wrong))) from None


def _outcome(outcome: Outcome) -> pb.SyncedContactOutcome:
    return pb.SyncedContactOutcome(
        result=_RESULTS[outcome.result],
        contact_id=outcome.contact_id.bytes if outcome.contact_id else b"",
        version=outcome.version,
        message=outcome.message,
    )


def _synced_field(field: CustomField) -> pb.SyncedField:
    return pb.SyncedField(
        name=field.key,
        is_custom=True,
        label=field.label,
        type=_TYPES[field.type],
        choices=field.choices,
        max_length=LONGEST_TEXT if field.type is FieldType.TEXT else 0,
    )


def _batch(rows: Sequence[Row[Any]], custom_fields: Sequence[str]) -> pb.SyncedContactBatch:
    return pb.SyncedContactBatch(
        contact_ids=[row.id.bytes for row in rows],
        emails=[row.email for row in rows],
        first_names=[row.first_name for row in rows],
        last_names=[row.last_name for row in rows],
        time_zones=[row.time_zone for row in rows],
        custom_fields=[row.custom_fields for row in rows] if custom_fields else (),
        statuses=[STATUSES[Status(row.status)] for row in rows],
        versions=[row.version for row in rows],
    )
