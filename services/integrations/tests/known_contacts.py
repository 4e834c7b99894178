"""The contacts process, as far as it is asked what contacts have, and who is known."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from chassis.context import RequestContext
from chassis.identifiers import new_id
from flownurture.contacts.v1 import contacts_pb2
from flownurture.contacts.v1 import synced_contacts_pb2 as pb

OWN_FIELDS = (
    pb.SyncedField(name="first_name", label="First name", type=pb.SYNCED_FIELD_TYPE_NAME, max_length=200),
    pb.SyncedField(name="last_name", label="Last name", type=pb.SYNCED_FIELD_TYPE_NAME, max_length=200),
)


@dataclass
class Known:
    """One of them."""

    email: str
    first_name: str = ""
    custom: dict[str, Any] = field(default_factory=dict)
    id: UUID = field(default_factory=new_id)


@dataclass
class KnownContacts:
    """Of each organization. Whoever writes has done what nobody may who only looks."""

    custom_fields: dict[UUID, list[pb.SyncedField]] = field(default_factory=dict)
    known: dict[UUID, list[Known]] = field(default_factory=dict)

    service = pb.DESCRIPTOR.services_by_name["SyncedContactService"]

    async def describe_synced_fields(
        self, request: pb.DescribeSyncedFieldsRequest, context: RequestContext
    ) -> pb.DescribeSyncedFieldsResponse:
        return pb.DescribeSyncedFieldsResponse(
            fields=[*OWN_FIELDS, *self.custom_fields.get(context.organization, ())]
        )

    async def read_contacts(
        self, request: pb.ReadContactsRequest, context: RequestContext
    ) -> pb.ReadContactsResponse:
        found = [
            (place, each)
            for place, key in enumerate(request.contacts)
            for each in self.known.get(context.organization, ())
            if each.email == key.email or each.id.bytes == key.contact_id
        ]
        each_found = [each for _, each in found]
        return pb.ReadContactsResponse(
            places=[place for place, _ in found],
            contacts=pb.SyncedContactBatch(
                contact_ids=[each.id.bytes for each in each_found],
                emails=[each.email for each in each_found],
                first_names=[each.first_name for each in each_found],
                last_names=["" for _ in found],
                time_zones=["" for _ in found],
                custom_fields=[orjson.dumps(each.custom).decode() for each in each_found],
                statuses=[contacts_pb2.CONTACT_STATUS_SUBSCRIBED for _ in found],
                versions=[1 for _ in found],
            ),
        )

    async def write_contacts(
        self, request: pb.WriteContactsRequest, context: RequestContext
    ) -> pb.WriteContactsResponse:
        raise NotImplementedError

    async def stream_contacts(
        self, request: pb.StreamContactsRequest, context: RequestContext
    ) -> AsyncIterator[pb.SyncedContactBatch]:
        raise NotImplementedError
        yield
