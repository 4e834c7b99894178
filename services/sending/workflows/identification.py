"""Which contacts are meant, by their ids or their addresses."""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias
from uuid import UUID

from chassis.context import RequestContext
from chassis.email_address import EmailAddress
from chassis.errors import Unavailable
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import workflow_contacts_pb2 as pb
from flownurture.contacts.v1.workflow_contacts_pb2_grpc import WorkflowContactServiceStub
from services.sending.workflows.enrolling import Enrollee

Meant: TypeAlias = UUID | EmailAddress


class Identification(Protocol):
    """Who knows contacts."""

    async def identify(self, context: RequestContext, meant: Sequence[Meant]) -> Sequence[Enrollee | None]:
        """Those who are meant, at most 500, in their order; None for who does not exist. Raises Unavailable."""


class IdentificationPeer:
    """By a call to WorkflowContactService."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def identify(self, context: RequestContext, meant: Sequence[Meant]) -> Sequence[Enrollee | None]:
        """As `Identification` says."""
        answer = await self._peer.call(
            WorkflowContactServiceStub(self._peer.channel).DescribePeople,
            pb.DescribePeopleRequest(people=map(_asked, meant)),
            RequestContext.of_process("sending", context.organization, request_id=context.request_id),
        )
        return list(_identified(answer.people))


def _asked(meant: Meant) -> pb.Person:
    if isinstance(meant, UUID):
        return pb.Person(contact_id=meant.bytes)
    return pb.Person(email_digest=meant.digest)


def _identified(people: Iterable[pb.PersonDescription]) -> Iterable[Enrollee | None]:
    for person in people:
        match person.presence:
            case pb.PRESENCE_PRESENT:
                yield Enrollee(UUID(bytes=person.contact_id), person.email_digest)
            case pb.PRESENCE_UNKNOWN:
                yield None
            case _:
                raise Unavailable
