"""The part of the contacts service that sending asks, served over real gRPC."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from chassis.context import RequestContext
from chassis.email_address import EmailAddress
from chassis.errors import NotFound, Unavailable
from chassis.identifiers import new_id
from flownurture.contacts.v1 import audience_pb2 as pb


class Audience:
    """Lists of contacts by organization."""

    service = pb.DESCRIPTOR.services_by_name["AudienceService"]

    def __init__(self) -> None:
        self.down = False
        # Batches after which a stream breaks off.
        self.breaks_after: int | None = None
        self.sent = 0
        # What is known of a contact, by its address.
        self.known: dict[str, Mapping[str, Any]] = {}
        self._ids: dict[tuple[UUID, str], bytes] = {}
        self._lists: dict[tuple[UUID, str], dict[bytes, str]] = {}

    def add(self, organization: UUID, emails: Iterable[str]) -> str:
        """Make a list; answers its id."""
        list_id = str(new_id())
        self._lists[organization, list_id] = {
            self._ids.setdefault((organization, email), new_id().bytes): email for email in emails
        }
        return list_id

    async def stream_recipients(
        self, request: pb.StreamRecipientsRequest, context: RequestContext
    ) -> AsyncIterator[pb.RecipientBatch]:
        """The lists' contacts, by ascending id, in batches; it breaks off after as many of them as a test says."""
        if self.down:
            raise Unavailable
        found = self._members(context, request.include)
        for excluded in self._members(context, request.exclude):
            found.pop(excluded, None)
        after = UUID(request.after_contact_id).bytes if request.after_contact_id else b""
        later = [(id_, found[id_]) for id_ in sorted(found) if id_ > after]
        for start in range(0, len(later), request.batch_size):
            if self.breaks_after is not None and self.sent >= self.breaks_after:
                self.sent = 0
                raise Unavailable
            self.sent += 1
            yield self._batch(later[start : start + request.batch_size], request.custom_fields)

    def _members(self, context: RequestContext, selection: pb.Selection) -> dict[bytes, str]:
        members: dict[bytes, str] = {}
        for list_id in selection.list_ids:
            if (context.organization, list_id) not in self._lists:
                raise NotFound(f"list as {list_id}")
            members |= self._lists[context.organization, list_id]
        return members

    def _batch(self, contacts: Sequence[tuple[bytes, str]], keys: Sequence[str]) -> pb.RecipientBatch:
        known = [self.known.get(email, {}) for _, email in contacts]
        return pb.RecipientBatch(
            contact_ids=[id_ for id_, _ in contacts],
            emails=[email for _, email in contacts],
            email_digests=[EmailAddress.parse(email).digest for _, email in contacts],
            first_names=[each.get("first_name", "") for each in known],
            last_names=[each.get("last_name", "") for each in known],
            custom_fields=[json.dumps({key: each[key] for key in keys if key in each}) for each in known]
            if keys
            else (),
        )
