"""The part of the contacts service that the page of preferences asks, served over real gRPC."""

from chassis.context import RequestContext
from chassis.errors import Unavailable
from flownurture.contacts.v1 import list_choices_pb2 as pb


class ListChoices:
    """Public lists of people by organization and digest, as far as a test says so."""

    service = pb.DESCRIPTOR.services_by_name["ListChoiceService"]

    def __init__(self) -> None:
        self.down = False
        self._known: dict[tuple[str, bytes], list[pb.ListChoice]] = {}

    def add(self, context: RequestContext, digest: bytes, choice: pb.ListChoice) -> None:
        """Have somebody see a list."""
        self._known.setdefault((str(context.organization), digest), []).append(choice)

    async def get_list_choices(
        self, request: pb.GetListChoicesRequest, context: RequestContext
    ) -> pb.ListChoices:
        """Theirs."""
        return pb.ListChoices(choices=self._of(context, request.email_digest))

    async def choose_lists(self, request: pb.ChooseListsRequest, context: RequestContext) -> pb.ListChoices:
        """Theirs, as they are then."""
        for choice in self._of(context, request.email_digest):
            if choice.list_id in request.offered_list_ids:
                choice.chosen = choice.list_id in request.chosen_list_ids
        return pb.ListChoices(choices=self._of(context, request.email_digest))

    def _of(self, context: RequestContext, digest: bytes) -> list[pb.ListChoice]:
        if self.down:
            raise Unavailable
        return self._known.get((str(context.organization), digest), [])
