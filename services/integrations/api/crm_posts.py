"""CrmPostService: what CRMs post when something changes there."""

from collections.abc import Mapping
from datetime import UTC, datetime

from chassis.context import RequestContext
from chassis.errors import NotFound, Unauthenticated
from flownurture.integrations.v1 import crm_posts_pb2 as pb
from services.integrations.api.fields import provider_of
from services.integrations.crm.oauth import App
from services.integrations.crm.provider import Post
from services.integrations.crm.providers import PROVIDERS
from services.integrations.nudges import Nudges


class CrmPostApi:
    """Believes of a post that its CRM has signed which accounts it is about. `apps` by CRM: what they sign with."""

    service = pb.DESCRIPTOR.services_by_name["CrmPostService"]

    def __init__(self, apps: Mapping[str, App], public_url: str, nudges: Nudges) -> None:
        self._apps = apps
        self._public_url = public_url.rstrip("/")
        self._nudges = nudges

    async def take_crm_post(
        self, request: pb.TakeCrmPostRequest, context: RequestContext
    ) -> pb.TakeCrmPostResponse:
        """NOT_FOUND for a CRM that signs none or has no app, UNAUTHENTICATED for a post that is not signed, or not just now."""
        name = provider_of(request.provider)
        told_by, app = PROVIDERS[name].accounts_told, self._apps.get(name)
        if told_by is None or app is None:
            raise NotFound("provider that posts")
        post = Post(
            url=f"{self._public_url}/v1/integrations/{name}/webhook",
            body=request.body.data,
            signature=request.hubspot_signature,
            timestamp=request.hubspot_timestamp,
        )
        accounts = told_by(app.client_secret, post, datetime.now(UTC))
        if accounts is None:
            raise Unauthenticated("The CRM has not signed this, or not just now.")
        self._nudges.add(name, accounts)
        return pb.TakeCrmPostResponse()
