"""ReportedOptOutService: decode, call the domain, encode."""

from google.protobuf.empty_pb2 import Empty

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from flownurture.suppression.v1 import reported_opt_outs_pb2 as pb
from services.sending.suppression.suppressions import opt_out_by_address


class ReportedOptOutApi:
    """Opt-outs that people have told to another system."""

    service = pb.DESCRIPTOR.services_by_name["ReportedOptOutService"]

    async def take_opt_outs(
        self, request: pb.TakeOptOutsRequest, context: RequestContext, session: TenantSession
    ) -> Empty:
        """Put their addresses on the list."""
        await opt_out_by_address(
            session, [EmailAddress.parse(email) for email in request.emails], request.note
        )
        return Empty()
