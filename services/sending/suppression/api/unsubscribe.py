"""UnsubscribeService: the links in mail by which a person opts out (RFC 8058)."""

from google.api.httpbody_pb2 import HttpBody

from chassis.context import RequestContext
from chassis.database import Database
from flownurture.suppression.v1 import unsubscribe_pb2 as pb
from services.sending.suppression.pages import unsubscribe_page, unsubscribed_page
from services.sending.suppression.suppressions import opt_out
from services.sending.unsubscribe_links import UnsubscribeLinks

_HTML = "text/html; charset=utf-8"


class UnsubscribeApi:
    """The link's token is the proof; nothing else of the request counts. Needs no more than the database."""

    service = pb.DESCRIPTOR.services_by_name["UnsubscribeService"]

    def __init__(self, database: Database, links: UnsubscribeLinks) -> None:
        self._database = database
        self._links = links

    async def get_unsubscribe_page(
        self, request: pb.GetUnsubscribePageRequest, context: RequestContext
    ) -> HttpBody:
        """A page with one button; it changes nothing, since prefetchers follow links. NOT_FOUND for a forged link."""
        self._links.open(request.token)
        return HttpBody(content_type=_HTML, data=unsubscribe_page())

    async def unsubscribe(self, request: pb.UnsubscribeRequest, context: RequestContext) -> HttpBody:
        """Opt out: committed before it answers, once however often it is asked. NOT_FOUND for a forged link."""
        link = self._links.open(request.token)
        async with self._database.tenant_transaction(link.context) as session:
            await opt_out(session, link.message_id, link.digest)
        return HttpBody(content_type=_HTML, data=unsubscribed_page())
