"""What workflows ask of the contacts service, served over real gRPC: people as a test makes them up, and things that are not there."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from chassis.context import RequestContext
from chassis.email_address import EmailAddress
from chassis.errors import Unavailable
from chassis.identifiers import new_id
from flownurture.contacts.v1 import workflow_contacts_pb2 as pb
from flownurture.contacts.v1.segments_pb2 import Rule


class WorkflowContacts:
    """Contacts by organization. A rule fits whom the test says that it fits; one about engagement is advanced."""

    service = pb.DESCRIPTOR.services_by_name["WorkflowContactService"]

    def __init__(self) -> None:
        self.down = False
        # Ids and keys of what is not there.
        self.missing: set[str] = set()
        self.occasions: list[pb.OccasionBatch] = []
        self._people: dict[tuple[UUID, bytes], pb.PersonDescription] = {}
        self._fitting: set[tuple[bytes, bytes]] = set()

    def add(self, organization: UUID, email: str, **known: Any) -> UUID:
        """Make a contact; answers the id."""
        contact_id, digest = new_id(), EmailAddress.parse(email).digest
        person = pb.PersonDescription(
            presence=pb.PRESENCE_PRESENT,
            contact_id=contact_id.bytes,
            email=email,
            email_digest=digest,
            **known,
        )
        self._people[organization, contact_id.bytes] = self._people[organization, digest] = person
        return contact_id

    def fit(self, contact_id: UUID, rule: Rule) -> None:
        """Let a rule fit somebody."""
        self._fitting.add((contact_id.bytes, rule.SerializeToString(deterministic=True)))

    async def describe_people(
        self, request: pb.DescribePeopleRequest, context: RequestContext
    ) -> pb.DescribePeopleResponse:
        """Whoever was made up."""
        if self.down:
            raise Unavailable
        rules = [rule.SerializeToString(deterministic=True) for rule in request.rules]
        answer = pb.DescribePeopleResponse()
        for asked in request.people:
            told = answer.people.add(presence=pb.PRESENCE_UNKNOWN)
            known = self._people.get((context.organization, asked.contact_id or asked.email_digest))
            if known is not None:
                told.CopyFrom(known)
                told.fitting.extend(
                    index for index in asked.rules if (known.contact_id, rules[index]) in self._fitting
                )
        return answer

    async def check_references(
        self, request: pb.CheckReferencesRequest, context: RequestContext
    ) -> pb.CheckReferencesResponse:
        """What is missing, and which rules are advanced."""
        if self.down:
            raise Unavailable
        answer = pb.CheckReferencesResponse()
        for thing in request.things:
            named = str(getattr(thing, str(thing.WhichOneof("thing"))))
            if any(each in named for each in self.missing):
                answer.violations.add(path=thing.path, message="is not there")
            if thing.rule.HasField("engagement"):
                answer.advanced_paths.append(thing.path)
        return answer

    async def stream_occasions(
        self, request: pb.StreamOccasionsRequest, context: RequestContext
    ) -> AsyncIterator[pb.OccasionBatch]:
        """Whoever was said to have one."""
        for batch in self.occasions:
            yield batch
