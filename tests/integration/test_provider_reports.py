"""Posts of providers on their whole way: signed as providers sign, through a real gateway, to the message that they are about."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from chassis.database import Database
from chassis.rpc.server import RpcServer
from chassis.stamp import StampVerifier
from deploy.local.servers.program import free_address
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import suppressions_pb2
from gateway.tests.house import running_gateway
from services.sending.feedback.api import ProviderReportApi
from services.sending.feedback.intake import Intake
from services.sending.feedback.origins import Origins
from services.sending.feedback.providers.directory import EVENTS, configured
from services.sending.feedback.providers.provider import Post
from services.sending.feedback.providers.visits import Visits
from services.sending.feedback.settings import FeedbackSettings
from services.sending.feedback.tests.https_host import answer, https_host, make_certificate, trusting
from services.sending.feedback.tests.posted import CERTIFICATE_PATH, SNS_HOST, SUBSCRIBE_URL, Keys, post_named
from services.sending.signed_addresses import CarriedTokens, ReturnPaths
from tests.integration.sending_path import SendingPath, sending_path

Environment = Callable[[str], dict[str, str]]

KEYS = Keys()
HARD = messages_pb2.SUPPRESSION_REASON_HARD_BOUNCE


@dataclass
class Platform:
    """A platform that hands mail to all five, and the host at which SNS is asked."""

    path: SendingPath
    settings: FeedbackSettings
    client: httpx.AsyncClient
    asked_of_sns: list[str]

    async def post(self, provider: str, post: Post) -> httpx.Response:
        """As the provider posts it."""
        return await self.client.post(
            f"/v1/feedback/{provider}", content=post.body, headers=dict(post.headers)
        )


@pytest.fixture(scope="module")
async def platform(
    service_environment: Environment, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Platform]:
    folder: Path = tmp_path_factory.mktemp("platform")
    given: dict[str, Any] = {
        name.lower(): value for name, value in service_environment("feedback").items()
    } | dict(KEYS.settings())
    settings = FeedbackSettings(**given)
    pem = make_certificate(folder / "sns.pem", SNS_HOST)
    asked: list[str] = []
    certificate = answer("200 OK", KEYS.certificate())
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(
            https_host(pem, lambda path: certificate if path == CERTIFICATE_PATH else answer("200 OK"), asked)
        )
        visits = Visits(trusting(pem), lambda _: ("127.0.0.1", port))
        database = await stack.enter_async_context(Database(settings.database_url, schema="sending"))
        api = ProviderReportApi(
            configured(settings, visits.get), Intake(database, Origins(settings.link_keys))
        )
        verifier = StampVerifier("feedback", settings.stamp_trusted_keys)
        server = await stack.enter_async_context(RpcServer("feedback", "127.0.0.1:0", verifier).add(api))
        gateway: dict[str, Any] = {
            name.lower(): value for name, value in service_environment("gateway").items()
        }
        gateway |= {
            "listen": free_address(),
            "metrics_listen": "127.0.0.1:0",
            "feedback_target": f"127.0.0.1:{server.port}",
        }
        url = await stack.enter_async_context(running_gateway(gateway))
        yield Platform(
            await stack.enter_async_context(sending_path(service_environment, folder)),
            settings,
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=20)),
            asked,
        )


@pytest.mark.parametrize("provider", EVENTS)
async def test_what_a_provider_posts_reaches_the_list_and_what_differs_from_it_is_refused(
    platform: Platform, provider: str
) -> None:
    organization = (await platform.path.found()).sending
    message = await organization.message("reader@example.com")
    await organization.deliver(platform.path.worker)
    whose = organization.context.organization, (await organization.rows("SELECT id FROM messages"))[0].id
    assert str(whose[1]) == message.id
    places = {
        "token": CarriedTokens(platform.settings.link_keys).token(*whose),
        "return_path": ReturnPaths(platform.settings.link_keys).address(*whose, "mail.test"),
    }
    post = KEYS.genuine(post_named(provider, "no_such_user"), **places)

    without = Post({"authorization": "Bearer x"}, post.body.replace(b'"Signature"', b'"S"'))
    if provider == "mailgun":
        without = Post({}, post.body.replace(b'"signature"', b'"s"'))
    refused = await platform.post(provider, without)
    assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (401, "unauthenticated")
    assert (await organization(suppressions_pb2.ListSuppressionsRequest())).suppressions == []

    for _ in range(2):
        taken = await platform.post(provider, post)
        assert (taken.status_code, taken.json()) == (200, {})
    (entry,) = (await organization(suppressions_pb2.ListSuppressionsRequest())).suppressions
    assert (entry.email, entry.reason) == ("reader@example.com", HARD)
    assert await organization.statuses() == {"reader@example.com": "bounced"}


async def test_a_subscription_is_confirmed_at_sns_itself(platform: Platform) -> None:
    message = KEYS.of_sns(
        "2", Type="SubscriptionConfirmation", SubscribeURL=SUBSCRIBE_URL, Token="2336412f37"
    )
    assert (await platform.post("ses", Post({}, message))).status_code == 200
    visited = platform.asked_of_sns[-1]
    assert visited.startswith(f"GET {SUBSCRIBE_URL.removeprefix(f'https://{SNS_HOST}')} HTTP/1.1\r\n")
    assert f"Host: {SNS_HOST}\r\n" in visited


async def test_a_provider_that_nobody_knows_is_not_there_and_a_post_has_its_bounds(
    platform: Platform,
) -> None:
    assert (await platform.post("pigeon", Post({}, b"{}"))).status_code == 404
    largest = KEYS.of_sendgrid(json.dumps([{"x": "y" * 1_048_000}]).encode())
    assert (await platform.post("sendgrid", largest)).status_code == 200
    too_large = KEYS.of_sendgrid(b"[" + b" " * 1_048_576 + b"]")
    assert (await platform.post("sendgrid", too_large)).status_code == 413
    header = {"authorization": f"Bearer {'x' * 2_000}"}
    assert (await platform.post("brevo", Post(header, b"{}"))).status_code == 422
