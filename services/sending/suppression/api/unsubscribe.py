"""UnsubscribeService: the links in mail by which a person opts out (RFC 8058)."""

from google.api.httpbody_pb2 import HttpBody

from chassis.context import RequestContext
from flownurture.suppression.v1 import unsubscribe_pb2 as pb
from services.sending.gathering import Gathering
from services.sending.suppression.pages import unsubscribe_page, unsubscribed_page
from services.sending.unsubscribe_links import OptOut, UnsubscribeLinks

_HTML = "text/html; charset=utf-8"


class UnsubscribeApi:
    """The link's token is the proof; nothing else of the request counts. Needs no more than the database."""

    service = pb.DESCRIPTOR.services_by_name["UnsubscribeService"]

    def __init__(self, opting_out: Gathering[OptOut], links: UnsubscribeLinks) -> None:
        self._opting_out = opting_out
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
        await self._opting_out.work_on(link.context, link)
        return HttpBody(content_type=_HTML, data=unsubscribed_page())
