"""What a mail is to be like: templates, read with the rights of who asks (ADR 0048)."""

from chassis.context import RequestContext
from chassis.rpc.client import Peer
from flownurture.sending.v1.templates_pb2 import GetTemplateRequest
from flownurture.sending.v1.templates_pb2_grpc import TemplateServiceStub

# Characters, as many as a client may show itself.
_MOST = 50_000


class EarlierMails:
    """Reads them from the sending process."""

    def __init__(self, sending: Peer) -> None:
        self._sending = sending
        self._templates = TemplateServiceStub(sending.channel)

    async def of_template(self, context: RequestContext, template_id: str) -> str:
        """Its body, as far as a model is shown one. Raises NotFound, and PermissionDenied for a key that may not read templates."""
        request = GetTemplateRequest(template_id=template_id)
        template = await self._sending.call_for_client(self._templates.GetTemplate, request, context)
        return (template.html or template.text)[:_MOST]
