"""ListChoiceService: decode, call the domain, encode."""

from chassis.context import RequestContext
from chassis.database import TenantSession
from flownurture.contacts.v1 import list_choices_pb2 as pb
from services.contacts.api.fields import ids_of
from services.contacts.list_choices import choices_of, choose


class ListChoiceApi:
    """What a person chooses on their page of preferences, as the suppression process passes it on."""

    service = pb.DESCRIPTOR.services_by_name["ListChoiceService"]

    async def get_list_choices(
        self, request: pb.GetListChoicesRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListChoices:
        """The public lists that the person is in, or has been."""
        return await _choices(session, request.email_digest)

    async def choose_lists(
        self, request: pb.ChooseListsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListChoices:
        """Leave and join as they say; how it is then."""
        await choose(
            session,
            request.email_digest,
            offered=ids_of(request.offered_list_ids),
            chosen=ids_of(request.chosen_list_ids),
        )
        return await _choices(session, request.email_digest)


async def _choices(session: TenantSession, digest: bytes) -> pb.ListChoices:
    return pb.ListChoices(
        choices=[
            pb.ListChoice(
                list_id=str(each.list_id),
                name=each.name,
                description=each.description,
                chosen=each.chosen,
            )
            for each in await choices_of(session, digest)
        ]
    )
