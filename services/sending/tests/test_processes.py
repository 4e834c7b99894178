"""The processes as they are run, in interpreters of their own and with a real broker; `test_kills.py` kills them.

They work for every organization they find, so they get a database and a broker that no other test uses.
"""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from chassis.database import Database
from chassis.migrations.runner import migrate
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import Stamper
from chassis.tests.broker import PASSWORD, Broker, provision
from chassis.tests.deadlines import until
from deploy.local.servers.program import HOST, Server, free_address
from flownurture.sending.v1 import campaigns_pb2
from flownurture.suppression.v1 import unsubscribe_pb2
from services.sending.fan_out import FanOut
from services.sending.tests.audience import Audience
from services.sending.tests.processes import House, service_process
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.unsubscribe_links import UnsubscribeLinks

Environment = Callable[[str], dict[str, str]]
PROCESSES = ("sending", "suppression", "delivery", "feedback")


@pytest.fixture(scope="module")
def own_environment(
    servers: Any, service_environment: Environment, owner_database_url: Callable[[str], str], worker_id: str
) -> Environment:
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
        for role in ("app", "relay", "scheduler", "consent"):
            grantee = sql.Identifier(f"sending_{role}")
            own.execute(sql.SQL("GRANT USAGE ON SCHEMA sending TO {}").format(grantee))
        for role in ("owner", "app", "relay", "scheduler", "consent"):
            grantee = sql.Identifier(f"sending_{role}")
            own.execute(
                sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = sending").format(
                    grantee, sql.Identifier(name)
                )
            )
    migrate(Secret(moved(owner_database_url("sending"))), "services.sending")
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
def environments(
    own_environment: Environment, broker: Broker, relay: MailRelay, contacts: RpcServer, identity: RpcServer
) -> dict[str, dict[str, str]]:
    """The environment of each of the processes."""
    return {
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
            "CONTACTS_TARGET": f"{HOST}:{contacts.port}",
            "IDENTITY_TARGET": f"{HOST}:{identity.port}",
        }
        for name in PROCESSES
    }


@pytest.fixture
async def house(environments: dict[str, dict[str, str]], tmp_path: Path) -> AsyncIterator[House]:
    processes: dict[str, Server] = {
        name: service_process(name, environment, tmp_path / f"{name}.log")
        for name, environment in environments.items()
    }
    async with House(processes) as house:
        await house.start(*PROCESSES)
        yield house


@pytest.fixture
async def peers(
    house: House, environments: dict[str, dict[str, str]], service_environment: Environment
) -> AsyncIterator[tuple[Peer, Peer]]:
    """Sending and suppression, as the gateway calls them."""
    stamper = Stamper("gateway", Secret(service_environment("gateway")["STAMP_PRIVATE_KEY"]))
    sending, suppression = [
        Peer(environments[name]["LISTEN"], name, stamper) for name in ("sending", "suppression")
    ]
    async with sending, suppression:
        yield sending, suppression


@pytest.fixture
def member(peers: tuple[Peer, Peer], own_database: Database, audience: Audience, fan_out: FanOut) -> Tenant:
    """A member of a fresh organization who calls those processes."""
    return Tenant(*peers, own_database, audience, fan_out)


async def completed(member: Tenant, campaign: str, seconds: float = 60) -> campaigns_pb2.CampaignReport:
    async def is_completed() -> bool:
        return (await member.report(campaign)).status == campaigns_pb2.CAMPAIGN_STATUS_COMPLETED

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
    assert await house.stop("delivery") == 0
    assert await house.stop("sending") == 0
    (row,) = await member.rows("SELECT id, email_digest FROM messages WHERE email = :email", email=readers[0])
    url = links.url(member.context.organization, row.id, bytes(row.email_digest))
    await member(unsubscribe_pb2.UnsubscribeRequest(token=url.rpartition("/")[2]))
    await house.start("delivery", "sending")

    second = await completed(member, await launched(member, readers))
    assert (second.sent, second.vetoed) == (699, 1)
    assert relay.handed_over[readers[0]] == 1


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
