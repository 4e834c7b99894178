"""Syncs whose process is killed while a CRM answers: both sides come to the same, nothing is written twice, and nobody is subscribed again.

Three CRMs are served on this machine. A process of the house is killed, by SIGKILL, at calls of chance, before the CRM has done what it was
asked or behind it; people edit and opt out on both sides meanwhile. The clock is moved by moving the rows' times.

KILL_SYNCS says how often it is killed for each CRM, KILL_SEED repeats the calls of a run.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from random import Random, randrange
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import psycopg
import pytest
from starlette.requests import Request
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from chassis.context import RequestContext
from chassis.database import Database
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from chassis.secret import Secret
from chassis.stamp import Stamper
from deploy.demo.waiting import until
from flownurture.suppression.v1.reported_opt_outs_pb2 import TakeOptOutsRequest
from flownurture.suppression.v1.reported_opt_outs_pb2_grpc import ReportedOptOutServiceStub
from services.integrations.crm.tests.servers.accounts import ACCOUNTS, LocalAccount
from services.integrations.sync import activities
from services.integrations.sync.activities import Happened, Kind
from services.integrations.tests.local_crm import agree, granting, grants_of, settings_of
from tests.integration.house import House
from tests.integration.second_processes import SecondProcess, mortal_integrations, second_gateway
from tests.integration.served_crm import SUBSCRIBES, replayed, unsent
from tests.integration.tenants import Tenant, authorization, sign_up, subscribe

KILLS = int(os.environ.get("KILL_SYNCS", "2"))
SEED = int(os.environ.get("KILL_SEED", randrange(2**32)))
PEOPLE = 12
# How many calls a sync makes before the blow, at most.
MOST_CALLS = 12
PATIENCE_SECONDS = 120

_TIME_PASSES = """
    WITH waited AS (
        UPDATE integrations.syncs SET lease_until = now()
        WHERE organization_id = %(organization)s AND lease_token IS NULL
    )
    UPDATE integrations.sync_positions SET due_at = now()
    WHERE organization_id = %(organization)s AND due_at < 'infinity'
"""
# What was handed over last is in doubt by then.
_LEASES_RUN_OUT = """
    WITH free AS (
        UPDATE integrations.syncs SET lease_until = now() WHERE organization_id = %(organization)s
    )
    UPDATE integrations.outgoing_activities SET handed_at = handed_at - interval '1 hour'
    WHERE organization_id = %(organization)s
"""
_OVER = "SELECT count(*) FROM integrations.syncs WHERE organization_id = %(organization)s AND status = 'completed'"
_WAITING = """
    SELECT (SELECT count(*) FROM integrations.outgoing_changes WHERE organization_id = %(organization)s)
         + (SELECT count(*) FROM integrations.outgoing_activities WHERE organization_id = %(organization)s)
"""
_LINKED = "SELECT contact_id FROM integrations.links WHERE organization_id = %(organization)s AND NOT is_cut"
_RECORDS = "SELECT contact_id, record_id FROM integrations.links WHERE organization_id = %(organization)s"

RecordProperty = Callable[[str, object], None]


@dataclass
class Blows:
    """Stands before an account, and kills who calls at the calls that were chosen."""

    account: LocalAccount
    process: SecondProcess = field(init=False)
    fallen: asyncio.Event = field(default_factory=asyncio.Event)
    subscribed: int = 0
    _app: ASGIApp = field(init=False)
    _calls: Any = field(default_factory=count)
    _next: tuple[int, bool] | None = None

    def __post_init__(self) -> None:
        self._app = self.account.server.app()

    def strike(self, after: int, *, is_done: bool) -> None:
        """At the call after so many; whether it is carried out nevertheless."""
        self._calls, self._next = count(), (after, is_done)
        self.fallen.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        self.subscribed += any(told in body for told in SUBSCRIBES)
        if self._next is None or next(self._calls) != self._next[0]:
            await self._app(scope, replayed(body), send)
            return
        (_, is_done), self._next = self._next, None
        if is_done:
            await self._app(scope, replayed(body), unsent)
        await self.process.kill()
        self.fallen.set()


@dataclass
class Scene:
    """An organization, an account of a CRM, and the process that keeps them in step."""

    house: House
    tenant: Tenant
    blows: Blows
    integrations: Database
    suppression: Peer
    random: Random
    opted_out: set[str] = field(default_factory=set)
    opened: Counter[UUID] = field(default_factory=Counter)
    number: int = 0

    @property
    def account(self) -> LocalAccount:
        return self.blows.account

    @property
    def context(self) -> RequestContext:
        return RequestContext.of_process("integrations", UUID(self.tenant.organization_id))

    async def rows(self, statement: str, **more: object) -> list[Any]:
        values = {"organization": self.tenant.organization_id, **more}
        async with await psycopg.AsyncConnection.connect(self.house.facts["database_url"]) as connection:
            found = await connection.execute(statement, values)
            return await found.fetchall() if found.description else []

    async def let_time_pass(self, *, is_dead: bool = False) -> None:
        """What waits has waited for long enough; and whoever is dead has been so for long."""
        await self.rows(_TIME_PASSES)
        if is_dead:
            await self.rows(_LEASES_RUN_OUT)

    async def ours(self) -> list[dict[str, Any]]:
        return await self.tenant.key.every("/v1/contacts", "contacts")

    def address(self) -> str:
        self.number += 1
        return f"person{self.number}@example.test"

    def name(self) -> str:
        return f"{self.random.choice(('Ada', 'Byron', 'Zoë'))}{self.random.randrange(10**6)}"

    async def people_work(self) -> None:
        """On both sides some are added and edited, and somebody opts out; and mail is opened."""
        for _ in range(PEOPLE):
            self.account.add(self.address(), given=self.name())
            await self.tenant.key.post("/v1/contacts", {"email": self.address(), "first_name": self.name()})
        contacts, records = await self.ours(), self.account.live()
        for record in self.random.sample(records, 4):
            self.account.edit(record.id, given=self.name())
        for contact in self.random.sample(contacts, 4):
            await self.tenant.key.patch(f"/v1/contacts/{contact['id']}", {"last_name": self.name()})
        there = self.random.choice([each for each in records if each.email not in self.opted_out])
        self.account.say_opted_out(there.id)
        addresses = {contact["email"] for contact in contacts}
        here = self.random.choice(sorted(addresses - self.opted_out - {there.email}))
        await self.opt_out(here)
        self.opted_out |= {str(there.email), here}
        await self.mail_is_opened()

    async def opt_out(self, email: str) -> None:
        """As if by a link: the suppression process is told by one that has heard of it."""
        stub = ReportedOptOutServiceStub(self.suppression.channel)
        await self.suppression.call(stub.TakeOptOuts, TakeOptOutsRequest(emails=[email]), self.context)

    async def mail_is_opened(self) -> None:
        linked = [contact_id for (contact_id,) in await self.rows(_LINKED)]
        happened = [
            Happened(Kind.OPENED, contact_id, of=new_id(), at=datetime.now(UTC))
            for contact_id in self.random.choices(linked, k=8 if linked else 0)
        ]
        async with self.integrations.tenant_transaction(self.context) as session:
            await activities.note(session, happened)
        self.opened.update(each.contact_id for each in happened)

    async def difference(self) -> list[Any]:
        """What one side alone has: people, their names, and that they have opted out; and how much waits.

        Who opted out before the CRM knew of them is not made known to it.
        """
        await self.let_time_pass()
        known = {each.email for each in self.account.live()}
        ours: Counter[Any] = Counter(
            (each["email"], each["first_name"], each["last_name"], each["status"] == "unsubscribed")
            for each in await self.ours()
            if each["status"] == "subscribed" or each["email"] in known
        )
        theirs: Counter[Any] = Counter(
            (each.email, *(each.properties.get(name) or "" for name in ("given", "family")), each.opted_out)
            for each in self.account.live()
        )
        ((waiting,),) = await self.rows(_WAITING)
        return [*(ours - theirs), *(theirs - ours), *[waiting][:waiting]]

    async def comes_to_its_end_again(self) -> None:
        """One sync more, from its beginning."""
        ((before,),) = await self.rows(_OVER)

        async def is_over() -> bool:
            await self.let_time_pass()
            ((over,),) = await self.rows(_OVER)
            return bool(over > before + 1)

        assert await until(is_over, bool, seconds=PATIENCE_SECONDS)


@asynccontextmanager
async def opened_scene(house: House, name: str) -> AsyncIterator[Scene]:
    """An account that is connected, with nobody in it yet."""
    grants, blows = grants_of(name), Blows(ACCOUNTS[name]())
    stamper = Stamper("integrations", Secret(house.secrets.stamp_keys["integrations"]))
    blows.account.server.tokens = grants.access_tokens
    async with granting(name, grants, [Mount("/", blows)]) as crm:
        told = json.dumps({name: settings_of(crm)})
        async with (
            mortal_integrations(house, CRMS=told) as (blows.process, address),
            second_gateway(house, INTEGRATIONS_TARGET=address) as url,
            httpx.AsyncClient(base_url=url, timeout=30) as api,
            Database(Secret(blows.process.environment["DATABASE_URL"]), schema="integrations") as database,
            Peer(house.services()["suppression"], "suppression", stamper) as suppression,
        ):
            tenant = await sign_up(api)
            await subscribe(api, tenant, "pro")
            await connect(api, tenant, name)
            yield Scene(house, tenant, blows, database, suppression, Random(f"{SEED} {name}"))


async def connect(api: httpx.AsyncClient, tenant: Tenant, name: str) -> None:
    """Agree at the CRM and come back."""
    headers = authorization(tenant.access_token)
    begun = await api.post(f"/v1/integrations/{name}/authorize", headers=headers, json={})
    back = urlsplit(await agree(begun.json()["authorization_url"]))
    assert "Connected" in (await api.get(f"{back.path}?{back.query}")).text


@pytest.mark.parametrize("name", ACCOUNTS)
async def test_a_sync_goes_on_behind_whoever_is_killed_and_nothing_is_written_twice(
    house: House, name: str, record_property: RecordProperty
) -> None:
    blows = []
    async with opened_scene(house, name) as scene:
        for number in range(KILLS):
            after, is_done = scene.random.randrange(MOST_CALLS), number % 2 == 0
            blows.append(f"{'behind' if is_done else 'before'} call {after}")
            scene.blows.strike(after, is_done=is_done)
            await scene.people_work()
            await falls(scene)
            await scene.people_work()
            await scene.let_time_pass(is_dead=True)
            await scene.blows.process.start()
        hint = f"KILL_SEED={SEED} KILL_SYNCS={KILLS}: {', '.join(blows)}"
        left = await until(scene.difference, lambda left: not left, seconds=PATIENCE_SECONDS)
        assert left == [], f"{hint}: {left}"
        ours = await scene.ours()
        assert len({each["email"] for each in ours}) == len(ours) == scene.number, hint
        assert {each["email"] for each in ours if each["status"] == "unsubscribed"} == scene.opted_out, hint
        assert not scene.blows.subscribed
        assert await shown(scene) == scene.opened, hint
        state, versions = scene.account.state(), [each["updated_at"] for each in ours]
        await scene.comes_to_its_end_again()
        assert scene.account.state() == state, hint
        assert [each["updated_at"] for each in await scene.ours()] == versions, hint
    figure = f"syncs of {name} killed {', '.join(blows)}: {scene.number} people in step, {scene.opened.total()} mails opened and shown, each once"
    record_property("figure", f"{figure} (seed {SEED})")


async def falls(scene: Scene) -> None:
    """The blow."""

    async def has_fallen() -> bool:
        await scene.let_time_pass()
        return scene.blows.fallen.is_set()

    assert await until(has_fallen, bool, seconds=PATIENCE_SECONDS)


async def shown(scene: Scene) -> Counter[UUID]:
    """How many openings each contact's record tells of."""
    links = await scene.rows(_RECORDS)
    openings = {
        contact: sum("Email opened" in told for told in scene.account.history(record))
        for contact, record in links
    }
    return +Counter(openings)
