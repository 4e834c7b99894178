"""The contacts process as the suppression process asks it: which public lists a person is in, and wants to be in."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from chassis.context import RequestContext
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import list_choices_pb2 as pb
from flownurture.contacts.v1.list_choices_pb2_grpc import ListChoiceServiceStub

# A page that does without lists is better than one that is waited for.
_TIMEOUT = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class ListChoice:
    """A list as its members see it, and whether the person is in it."""

    list_id: str
    name: str
    description: str
    chosen: bool


class ContactsPeer:
    """Choices by calls to ListChoiceService, for the organization of a link and the digest in it."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def list_choices(self, link: RequestContext, digest: bytes) -> list[ListChoice]:
        """The lists that a person is in, or has been. Raises Unavailable, DeadlineExceeded."""
        stub = ListChoiceServiceStub(self._peer.channel)
        request = pb.GetListChoicesRequest(email_digest=digest)
        return _read(await self._peer.call(stub.GetListChoices, request, _on_behalf_of(link), _TIMEOUT))

    async def choose_lists(
        self, link: RequestContext, digest: bytes, *, offered: Collection[UUID], chosen: Collection[UUID]
    ) -> list[ListChoice]:
        """Leave what was offered and is not chosen, join what is; how it is then. Raises as `list_choices`."""
        stub = ListChoiceServiceStub(self._peer.channel)
        request = pb.ChooseListsRequest(
            email_digest=digest, offered_list_ids=map(str, offered), chosen_list_ids=map(str, chosen)
        )
        return _read(await self._peer.call(stub.ChooseLists, request, _on_behalf_of(link), _TIMEOUT))


def _on_behalf_of(link: RequestContext) -> RequestContext:
    return RequestContext.of_process("suppression", link.organization, request_id=link.request_id)


def _read(answer: pb.ListChoices) -> list[ListChoice]:
    return [
        ListChoice(choice.list_id, choice.name, choice.description, choice.chosen)
        for choice in answer.choices
    ]
