"""The processes as they are run: their own interpreters, a real broker, and no warning before they die.

They work for every organization they find, so they get a database and a broker that no other test uses.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc.aio
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from psycopg import sql

from chassis.database import Database
from chassis.errors import Unavailable
from chassis.migrations.runner import migrate
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import Stamper
from chassis.tests.broker import PASSWORD, Broker, provision
from chassis.tests.deadlines import until
from flownurture.sending.v1 import campaigns_pb2
from flownurture.suppression.v1 import unsubscribe_pb2
from services.sending.fan_out import FanOut
from services.sending.tests.audience import Audience
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.unsubscribe_links import UnsubscribeLinks

Environment = Callable[[str], dict[str, str]]
ROOT = Path(__file__).parents[3]
MODULES = {
    "sending": "services.sending",
    "suppression": "services.sending.suppression",
    "delivery": "services.sending.delivery",
    "feedback": "services.sending.feedback",
}
# What one delivery process can have claimed: connections times the chunk of each.
MOST_IN_HAND = 8 * 10


def free_address() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


@dataclass
class House:
    """The four processes; each can be killed and started again."""

    environments: dict[str, dict[str, str]]
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(self, name: str) -> None:
        environment = self.environments[name]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", MODULES[name], "serve", cwd=ROOT, env=environment
        )
        self.running[name] = process

        async def serving() -> bool:
            assert process.returncode is None
            try:
                answer = await health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=1
                )
            except grpc.aio.AioRpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

        async with grpc.aio.insecure_channel(environment["LISTEN"]) as channel:
            await until(serving, 90)

    async def end(self, name: str, with_signal: signal.Signals) -> int:
        process = self.running.pop(name)
        process.send_signal(with_signal)
        return await process.wait()


@asynccontextmanager
async def open_house(environments: dict[str, dict[str, str]]) -> AsyncIterator[House]:
    house = House(environments)
    try:
        await asyncio.gather(*map(house.start, environments))
        yield house
    finally:
        for name in list(house.running):
            await house.end(name, signal.SIGKILL)


@pytest.fixture(scope="module")
def own_environment(servers: Any, service_environment: Environment, worker_id: str) -> Environment:
    """The processes' environment with a database of this module's own."""
    name = f"flownurture_sending_{worker_id}"

    def moved(url: str) -> str:
        return urlsplit(url)._replace(path=f"/{name}").geturl()

    def environment(process: str) -> dict[str, str]:
        given = service_environment(process)
        return {
            variable: moved(value) if value.startswith("postgresql://") else value
            for variable, value in given.items()
        }

    admin_url = str(servers.admin_database_url)
    with psycopg.connect(admin_url, autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with psycopg.connect(moved(admin_url), autocommit=True) as own:
        own.execute("CREATE SCHEMA sending AUTHORIZATION sending_owner")
        for role in ("app", "relay", "scheduler"):
            grantee = sql.Identifier(f"sending_{role}")
            own.execute(sql.SQL("GRANT USAGE ON SCHEMA sending TO {}").format(grantee))
        for role in ("owner", "app", "relay", "scheduler"):
            grantee = sql.Identifier(f"sending_{role}")
            own.execute(
                sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = sending").format(
                    grantee, sql.Identifier(name)
                )
            )
    migrate(Secret(moved(service_environment("sending")["DATABASE_OWNER_URL"])), "services.sending")
    return environment


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker of the test's own, with the streams and readers that these processes use."""
    broker = Broker(tmp_path).start()
    facts = [("DELIVERY", "delivery", "suppression"), ("DELIVERY", "delivery", "sending")]
    facts += [("SUPPRESSION", "suppression", "sending"), ("SENDING", "sending", "webhooks")]
    for stream, domain, reader in facts:
        await provision(broker.url, stream, f"flownurture.{domain}.*", durable=reader)
    for of in ("sends", "messages"):
        for order, domain, reader in (
            ("requested", "sending", "suppression"),
            ("approved", "suppression", "delivery"),
        ):
            subject = f"flownurture.{domain}.work.{of}_{order}"
            await provision(broker.url, f"{of}_{order}".upper(), subject, durable=reader, ack_wait=10)
    yield broker
    broker.kill()


@pytest.fixture
async def own_database(own_environment: Environment) -> AsyncIterator[Database]:
    async with Database(Secret(own_environment("sending")["DATABASE_URL"]), schema="sending") as database:
        yield database


@pytest.fixture
async def house(
    own_environment: Environment,
    broker: Broker,
    relay: MailRelay,
    contacts: RpcServer,
    identity: RpcServer,
) -> AsyncIterator[House]:
    environments = {
        name: {
            **os.environ,
            **own_environment(name),
            "NATS_URL": broker.url,
            "NATS_USER": "probe",
            "NATS_PASSWORD": PASSWORD,
            "LISTEN": free_address(),
            "METRICS_LISTEN": free_address(),
            "SMTP_LISTEN": free_address(),
            "SMTP_URL": relay.url,
            "CONTACTS_TARGET": f"127.0.0.1:{contacts.port}",
            "IDENTITY_TARGET": f"127.0.0.1:{identity.port}",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'proto/gen'}",
        }
        for name in MODULES
    }
    async with open_house(environments) as house:
        yield house


@pytest.fixture
async def member(
    house: House,
    service_environment: Environment,
    own_database: Database,
    audience: Audience,
    fan_out: FanOut,
) -> AsyncIterator[Tenant]:
    """A member of a fresh organization who calls those processes."""
    stamper = Stamper("gateway", Secret(service_environment("gateway")["STAMP_PRIVATE_KEY"]))
    async with AsyncExitStack() as stack:
        sending, suppression = [
            await stack.enter_async_context(Peer(house.environments[name]["LISTEN"], name, stamper))
            for name in ("sending", "suppression")
        ]
        yield Tenant(sending, suppression, own_database, audience, fan_out)


async def completed(member: Tenant, campaign: str, seconds: float = 60) -> campaigns_pb2.CampaignReport:
    async def is_completed() -> bool:
        try:
            report = await member.report(campaign)
        except Unavailable:
            # The process may have just been killed.
            return False
        return report.status == campaigns_pb2.CAMPAIGN_STATUS_COMPLETED

    await until(is_completed, seconds)
    return await member.report(campaign)


async def launched(member: Tenant, readers: list[str]) -> str:
    await member.reach()
    draft = await member.draft(*readers)
    await member(campaigns_pb2.LaunchCampaignRequest(campaign_id=draft.id))
    return draft.id


async def test_a_campaign_goes_out_and_an_opt_out_holds_without_delivery_and_sending(
    house: House, member: Tenant, relay: MailRelay, links: UnsubscribeLinks
) -> None:
    readers = [f"reader{number}@example.com" for number in range(700)]
    first = await completed(member, await launched(member, readers))
    assert (first.audience, first.sent) == (700, 700)
    assert relay.handed_over == dict.fromkeys(readers, 1)

    # Nothing but the suppression process and its database is needed to opt out.
    assert await house.end("delivery", signal.SIGTERM) == 0
    assert await house.end("sending", signal.SIGTERM) == 0
    (row,) = await member.rows("SELECT id, email_digest FROM messages WHERE email = :email", email=readers[0])
    url = links.url(member.context.organization, row.id, bytes(row.email_digest))
    await member(unsubscribe_pb2.UnsubscribeRequest(token=url.rpartition("/")[2]))
    await asyncio.gather(house.start("delivery"), house.start("sending"))

    second = await completed(member, await launched(member, readers))
    assert (second.sent, second.vetoed) == (699, 1)
    assert relay.handed_over[readers[0]] == 1


@pytest.mark.parametrize("victim", ["delivery", "suppression", "sending"])
async def test_killing_a_process_in_mid_campaign_sends_nothing_twice_and_loses_nobody(
    house: House, member: Tenant, relay: MailRelay, victim: str
) -> None:
    readers = [f"reader{number}@example.com" for number in range(1500)]
    campaign = await launched(member, readers)
    await until(lambda: len(relay.seen) >= 100, 30)
    await house.end(victim, signal.SIGKILL)
    await house.start(victim)
    report = await completed(member, campaign)
    assert max(relay.handed_over.values()) == 1
    assert report.audience == 1500 == report.sent + report.indeterminate
    assert report.indeterminate <= (MOST_IN_HAND if victim == "delivery" else 0)
    # Whoever got nothing is among those in doubt, and nobody is missing from the count.
    assert len(relay.handed_over) >= report.sent


async def test_a_relay_that_comes_back_gets_everything(
    house: House, member: Tenant, relay: MailRelay
) -> None:
    async def refuses(_: str) -> None:
        return None

    accepts, relay.on_recipient = relay.on_recipient, refuses
    readers = [f"reader{number}@example.com" for number in range(50)]
    campaign = await launched(member, readers)

    async def approved() -> bool:
        return (await member.report(campaign)).approved == 50

    await until(approved, 20)
    relay.on_recipient = accepts
    assert (await completed(member, campaign)).sent == 50
    assert relay.handed_over == dict.fromkeys(readers, 1)
