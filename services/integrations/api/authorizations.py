"""AuthorizationService: sends somebody to a CRM to agree, and takes in who comes back."""

from dataclasses import replace

from google.api.httpbody_pb2 import HttpBody

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from chassis.logs import logger
from chassis.secret import Secret
from chassis.vault.vault import Vault
from flownurture.integrations.v1 import authorizations_pb2 as pb
from services.integrations import authorizations
from services.integrations.api.fields import provider_of, timestamp
from services.integrations.authorizations import States
from services.integrations.connecting import Connecting, NotConnected
from services.integrations.connections import Connector
from services.integrations.offers import Offers, title_of
from services.integrations.pages import connected_page, not_connected_page

_HTML = "text/html; charset=utf-8"
# RFC 6749 §4.1.2.1, and in Pipedrive's words.
_DENIED = frozenset(("access_denied", "user_denied"))


class AuthorizationApi:
    """OAuth 2.0 as the client of a CRM."""

    service = pb.DESCRIPTOR.services_by_name["AuthorizationService"]

    def __init__(self, vault: Vault, offers: Offers, states: States, connecting: Connecting) -> None:
        self._vault = vault
        self._offers = offers
        self._states = states
        self._connecting = connecting

    async def begin_authorization(
        self, request: pb.BeginAuthorizationRequest, context: RequestContext, session: TenantSession
    ) -> pb.BeginAuthorizationResponse:
        """Where to agree. CONFLICT when the CRM is not set up."""
        provider = provider_of(request.provider)
        oauth, offer = self._offers.oauth(provider), self._offers.of(provider)
        keyring = await self._vault.keyring(session)
        begun = await authorizations.begin(session, keyring, provider, Connector.of(context))
        url = oauth.url(
            state=self._states.state(provider, context.organization, begun.id),
            challenge=begun.challenge,
            redirect_uri=self._states.redirect_uri(provider),
            scopes=offer.provider.scopes,
        )
        return pb.BeginAuthorizationResponse(authorization_url=url, expires_at=timestamp(begun.expires_at))

    async def complete_authorization(
        self, request: pb.CompleteAuthorizationRequest, context: RequestContext
    ) -> HttpBody:
        """Connect who agreed, once, and say on a page what came of it. NOT_FOUND for a state that is not genuine."""
        provider = provider_of(request.provider)
        within, authorization_id = self._states.open(provider, request.state)
        if context.head_only:
            # A program looks. What is good once is for whoever comes after it.
            return HttpBody(content_type=_HTML)
        if not request.code and not request.error:
            raise InvalidRequest(FieldViolation("code", "is needed"))
        within = _where(within, context)
        try:
            if not request.code:
                await self._connecting.take(within, authorization_id)
                raise NotConnected(_why(provider, request.error))  # noqa: TRY301 - told as any other reason
            connection = await self._connecting.by_code(
                within,
                provider,
                authorization_id,
                Secret(request.code),
                self._states.redirect_uri(provider),
            )
        except NotConnected as reason:
            logger().info("not_connected", provider=provider, why=str(reason))
            return HttpBody(content_type=_HTML, data=not_connected_page(provider, str(reason)))
        return HttpBody(content_type=_HTML, data=connected_page(connection))


def _where(within: RequestContext, context: RequestContext) -> RequestContext:
    """The organization that the state names, asked for by the browser that came."""
    return replace(within, client_address=context.client_address, request_id=context.request_id)


def _why(provider: str, error: str) -> str:
    if error in _DENIED:
        return f"{title_of(provider)} says that access was not allowed."
    # What else stands in the address is anybody's word, and is not repeated.
    return f"{title_of(provider)} did not let the platform in."
