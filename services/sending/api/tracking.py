"""TrackingService: pixels and links of mails (public)."""

from base64 import b64decode

from google.api.httpbody_pb2 import HttpBody

from chassis.context import RequestContext
from flownurture.sending.v1 import tracking_pb2 as pb
from flownurture.web.v1.redirect_pb2 import Redirect
from services.sending.tracking.agents import Kind, bot_rule
from services.sending.tracking.campaign_links import Targets
from services.sending.tracking.hits import Hit, Recorder
from services.sending.tracking.links import TrackingLinks

# One transparent point.
_PIXEL = HttpBody(
    content_type="image/gif",
    data=b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"),
)


class TrackingApi:
    """The token is the proof; what is asked for is answered before it is recorded, and whether or not it can be."""

    service = pb.DESCRIPTOR.services_by_name["TrackingService"]

    def __init__(self, links: TrackingLinks, targets: Targets, recorder: Recorder) -> None:
        self._links = links
        self._targets = targets
        self._recorder = recorder

    async def get_open_pixel(self, request: pb.GetOpenPixelRequest, context: RequestContext) -> HttpBody:
        """The picture; NOT_FOUND for a forged token."""
        message = self._links.opened(request.token)
        rule = bot_rule(Kind.OPENED, context.user_agent, head_only=context.head_only)
        self._recorder.record(Hit.now(Kind.OPENED, message, bot_rule=rule))
        return _PIXEL

    async def follow_link(self, request: pb.FollowLinkRequest, context: RequestContext) -> Redirect:
        """On to where it leads; NOT_FOUND for a forged token, or a number that its mail does not have."""
        message, number = self._links.clicked(request.token)
        target = await self._targets.of(message.context, message.mailing_id, number)
        rule = bot_rule(Kind.CLICKED, context.user_agent, head_only=context.head_only)
        self._recorder.record(Hit.now(Kind.CLICKED, message, link_number=number, bot_rule=rule))
        return Redirect(location=target)
