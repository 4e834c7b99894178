"""The AI of the integrations service: on real PostgreSQL, behind gRPC, before a model's API on a real socket."""

from collections.abc import AsyncIterator, Callable

import pytest

from chassis.database import Database
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from services.integrations.ai.earlier_mails import EarlierMails
from services.integrations.ai.language_model import language_model
from services.integrations.ai.mail_checks import MailChecks
from services.integrations.ai.tests.model_server import ModelServer, serving
from services.integrations.ai.tests.neighbours import Sending
from services.integrations.ai.tests.tenant import Tenant
from services.integrations.ai.tools import Tools
from services.integrations.api.copilot import CopilotApi
from services.integrations.api.usage import AiUsageApi
from services.integrations.api.writing import WritingApi
from services.integrations.settings import IntegrationsSettings

Environment = Callable[[str], dict[str, str]]
KEY = "sk-of-the-operator"


@pytest.fixture(scope="session")
def settings(service_environment: Environment) -> IntegrationsSettings:
    environment = service_environment("integrations")
    return IntegrationsSettings(**{name.lower(): value for name, value in environment.items()})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
async def database(settings: IntegrationsSettings) -> AsyncIterator[Database]:
    async with Database(settings.database_url, schema="integrations", pool_size=10) as database:
        yield database


@pytest.fixture
async def model() -> AsyncIterator[ModelServer]:
    async with serving() as model:
        yield model


@pytest.fixture
def checks() -> Sending:
    return Sending()


@pytest.fixture
async def sending(
    settings: IntegrationsSettings, checks: Sending, service_environment: Environment
) -> AsyncIterator[Peer]:
    """The sending process, as this one calls it."""
    verifier = StampVerifier("sending", settings.stamp_trusted_keys)
    stamper = Stamper("integrations", settings.stamp_private_key)
    async with (
        RpcServer("sending", "127.0.0.1:0", verifier).add(checks) as server,
        Peer(f"127.0.0.1:{server.port}", "sending", stamper) as peer,
    ):
        yield peer


@pytest.fixture
async def tenant(
    settings: IntegrationsSettings,
    database: Database,
    model: ModelServer,
    sending: Peer,
    service_environment: Environment,
) -> AsyncIterator[Tenant]:
    """A member of a fresh organization, before a process whose operator has that model."""
    told = settings.model_copy(
        update={"ai_base_url": model.url, "ai_api_key": Secret(KEY), "ai_model": "scripted"}
    )
    async with (
        _serving(told, database, sending) as server,
        _peer(server, "gateway", service_environment) as gateway,
    ):
        tenant = Tenant(gateway)
        tenant.server = server
        yield tenant


@pytest.fixture
def peer_of(tenant: Tenant, service_environment: Environment) -> Callable[[str], Peer]:
    """The process as another one calls it, once entered."""
    return lambda process: _peer(tenant.server, process, service_environment)


@pytest.fixture
async def without_a_model(
    settings: IntegrationsSettings, database: Database, sending: Peer, service_environment: Environment
) -> AsyncIterator[Tenant]:
    """The same, where the operator has none."""
    async with (
        _serving(settings, database, sending) as server,
        _peer(server, "gateway", service_environment) as gateway,
    ):
        yield Tenant(gateway)


def _serving(settings: IntegrationsSettings, database: Database, sending: Peer) -> RpcServer:
    verifier = StampVerifier("integrations", settings.stamp_trusted_keys)
    server = RpcServer("integrations", "127.0.0.1:0", verifier, database)
    model = language_model(settings)
    # Nobody is there to read from but who looks at drafts.
    copilot = CopilotApi(database, model, Tools(sending, sending))
    return server.add(
        WritingApi(database, model, MailChecks(sending), EarlierMails(sending)), copilot, AiUsageApi()
    )


def _peer(server: RpcServer, process: str, service_environment: Environment) -> Peer:
    key = Secret(service_environment(process)["STAMP_PRIVATE_KEY"])
    return Peer(f"127.0.0.1:{server.port}", "integrations", Stamper(process, key))
