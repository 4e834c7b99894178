"""What others count of an organization: contacts, e-mails, webhook endpoints and tokens, asked of the processes that hold them."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.context import RequestContext
from chassis.rpc.client import Peer
from flownurture.contacts.v1.usage_pb2 import CountContactsRequest
from flownurture.contacts.v1.usage_pb2_grpc import ContactUsageServiceStub
from flownurture.integrations.v1.usage_pb2 import CountTokensRequest
from flownurture.integrations.v1.usage_pb2_grpc import AiUsageServiceStub
from flownurture.sending.v1.usage_pb2 import CountEmailsRequest
from flownurture.sending.v1.usage_pb2_grpc import EmailUsageServiceStub
from flownurture.webhooks.v1.usage_pb2 import CountEndpointsRequest
from flownurture.webhooks.v1.usage_pb2_grpc import WebhookUsageServiceStub

_TIMEOUT = 2.0  # seconds


class UsagePeers:
    """Asks on behalf of the context's organization. Raises Unavailable when one does not answer."""

    def __init__(self, contacts: Peer, sending: Peer, webhooks: Peer, integrations: Peer) -> None:
        self._contacts = contacts
        self._contact_usage = ContactUsageServiceStub(contacts.channel)
        self._sending = sending
        self._email_usage = EmailUsageServiceStub(sending.channel)
        self._webhooks = webhooks
        self._webhook_usage = WebhookUsageServiceStub(webhooks.channel)
        self._integrations = integrations
        self._ai_usage = AiUsageServiceStub(integrations.channel)

    async def contacts(self, context: RequestContext) -> int:
        """How many contacts the organization holds."""
        answer = await self._contacts.call(
            self._contact_usage.CountContacts, CountContactsRequest(), _by_itself(context), _TIMEOUT
        )
        return int(answer.contacts)

    async def emails(self, context: RequestContext, cycle_started_at: datetime) -> int:
        """How many e-mails count in the cycle that started then."""
        answer = await self._sending.call(
            self._email_usage.CountEmails,
            CountEmailsRequest(cycle_started_at=_moment(cycle_started_at)),
            _by_itself(context),
            _TIMEOUT,
        )
        return int(answer.emails)

    async def webhook_endpoints(self, context: RequestContext) -> int:
        """How many webhook endpoints the organization has."""
        answer = await self._webhooks.call(
            self._webhook_usage.CountEndpoints, CountEndpointsRequest(), _by_itself(context), _TIMEOUT
        )
        return int(answer.endpoints)

    async def ai_tokens(self, context: RequestContext, cycle_started_at: datetime) -> int:
        """How many tokens of language models count in the cycle that started then."""
        answer = await self._integrations.call(
            self._ai_usage.CountTokens,
            CountTokensRequest(cycle_started_at=_moment(cycle_started_at)),
            _by_itself(context),
            _TIMEOUT,
        )
        return int(answer.tokens)


def _moment(time: datetime) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(time)
    return moment


def _by_itself(context: RequestContext) -> RequestContext:
    return RequestContext.of_process("identity", context.organization, request_id=context.request_id)
