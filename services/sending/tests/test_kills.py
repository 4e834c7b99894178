"""Any part of the sending path killed in the midst of a campaign: nobody is lost, nobody gets it twice, and little is in doubt.

The processes, two of them for delivery, are the real ones, on a database server, a broker and a relay of their own, which die as
well. The relay notes each message before it says yes; what it noted is compared with what the report says. All the while some of
the recipients opt out.

KILL_RECIPIENTS and KILL_POINTS set how large each campaign is and how often it is hit, KILL_SEED repeats the points of a run.
"""

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from chassis.database import Database
from chassis.errors import DeadlineExceeded, Unavailable
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.stamp import Stamper
from chassis.tests.deadlines import until
from deploy.local.servers.program import HOST
from flownurture.sending.v1 import campaigns_pb2
from flownurture.suppression.v1.unsubscribe_pb2 import UnsubscribeRequest
from services.sending.fan_out import FanOut
from services.sending.tests.audience import Audience
from services.sending.tests.mailing import PATIENCE_SECONDS, Mailing
from services.sending.tests.site import Site, open_site, site_folder
from services.sending.tests.tenant import Tenant
from services.sending.unsubscribe_links import UnsubscribeLinks

RECIPIENTS = int(os.environ.get("KILL_RECIPIENTS", "1000"))
POINTS = int(os.environ.get("KILL_POINTS", "1"))
SEED = int(os.environ.get("KILL_SEED", random.randrange(2**32)))
LEAVING = RECIPIENTS // 50
SINGLE = 300
BROKEN_SHARE = 0.01

RecordProperty = Callable[[str, object], None]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with site_folder("flownurture-kills-") as folder:
        yield folder


@pytest.fixture(scope="module")
async def site(folder: Path, servers: Any, contacts: RpcServer, identity: RpcServer) -> AsyncIterator[Site]:
    others = {"contacts": f"{HOST}:{contacts.port}", "identity": f"{HOST}:{identity.port}"}
    async with open_site(folder, servers.secrets, servers.addresses, others) as site:
        yield site


@pytest.fixture
async def member(
    site: Site, service_environment: Callable[[str], dict[str, str]], audience: Audience, fan_out: FanOut
) -> AsyncIterator[Tenant]:
    """A member of a fresh organization who calls those processes."""
    # A test that failed may have left something dead.
    await site.house.mend()
    stamper = Stamper("gateway", Secret(service_environment("gateway")["STAMP_PRIVATE_KEY"]))
    url = Secret(site.environments["sending"]["DATABASE_URL"])
    sending, suppression = [
        Peer(site.addresses.listen[name], name, stamper) for name in ("sending", "suppression")
    ]
    async with Database(url, schema="sending") as database, sending, suppression:
        member = Tenant(sending, suppression, database, audience, fan_out)
        await member.reach()
        yield member


@asynccontextmanager
async def explained(site: Site) -> AsyncIterator[None]:
    """Tell with a failure how to repeat it, and what everybody said last."""
    try:
        yield
        assert site.house.whole(), "something ended that nobody killed"
    except BaseException as failure:
        failure.add_note(f"KILL_SEED={SEED} KILL_RECIPIENTS={RECIPIENTS} KILL_POINTS={POINTS}")
        failure.add_note(site.house.tails())
        raise


def readers(count: int) -> list[str]:
    run = random.randbytes(4).hex()
    return [f"reader{number}.{run}@example.com" for number in range(count)]


async def launched(member: Tenant, mailing: Mailing) -> str:
    draft = await member.draft(*mailing.people)
    await member(campaigns_pb2.LaunchCampaignRequest(campaign_id=draft.id))
    return draft.id


async def completed(member: Tenant, campaign: str) -> campaigns_pb2.CampaignReport:
    report = campaigns_pb2.CampaignReport()

    async def is_completed() -> bool:
        with suppress(Unavailable, DeadlineExceeded):
            report.CopyFrom(await member.report(campaign))
        return report.status == campaigns_pb2.CAMPAIGN_STATUS_COMPLETED

    await until(is_completed, PATIENCE_SECONDS, pause=0.1)
    return report


async def opt_out(member: Tenant, links: UnsubscribeLinks, email: str) -> None:
    """Follow the link of one's mail, again for as long as nobody answers."""

    async def acknowledged() -> bool:
        with suppress(Unavailable, DeadlineExceeded):
            for row in await member.rows(
                "SELECT id, email_digest FROM messages WHERE email = :email", email=email
            ):
                url = links.url(member.context.organization, row.id, bytes(row.email_digest))
                await member(UnsubscribeRequest(token=url.rpartition("/")[2]))
                return True
        return False

    await until(acknowledged, PATIENCE_SECONDS)


async def leave(
    mailing: Mailing, member: Tenant, links: UnsubscribeLinks, chance: random.Random
) -> frozenset[str]:
    """Let some opt out, each at a random moment; answers who did."""
    leaving = chance.sample(sorted(mailing.people), LEAVING)
    moments = sorted(chance.choices(range(len(mailing.people) * 8 // 10), k=LEAVING))
    for moment, email in zip(moments, leaving, strict=True):
        await mailing.reaches(moment)
        await opt_out(member, links, email)
    return frozenset(leaving)


async def everybody_is_accounted_for(
    mailing: Mailing, member: Tenant, report: campaigns_pb2.CampaignReport, left: frozenset[str]
) -> str:
    """Compare what the rows and the report say with what the relay has; answers the figures."""
    became: dict[str, set[str]] = defaultdict(set)
    for row in await member.rows(
        "SELECT email, status FROM messages WHERE campaign_id = :id", id=UUID(report.campaign_id)
    ):
        became[row.status].add(row.email)
    sent, vetoed, in_doubt = [became.pop(status, set()) for status in ("sent", "vetoed", "indeterminate")]
    copies, cut = mailing.copies(), mailing.cut()
    lost = mailing.people - copies.keys() - vetoed - in_doubt
    twice = {person for person, number in copies.items() if number > 1}
    figures = (
        f"{len(sent):,} sent, {len(vetoed)} vetoed ({len(left)} opted out), {len(in_doubt)} indeterminate "
        f"on {len(cut)} connections cut, {len(lost)} lost, {len(twice)} twice"
    )
    assert not lost, figures
    assert not twice, figures
    assert not became, figures
    assert (report.audience, report.sent, report.vetoed, report.indeterminate) == (
        len(mailing.people),
        len(sent),
        len(vetoed),
        len(in_doubt),
    )
    assert sent | vetoed | in_doubt == mailing.people
    # Whoever is said to have it has it, and a veto is kept by everybody.
    assert sent <= copies.keys() <= sent | in_doubt, figures
    assert vetoed <= left
    # In doubt are those alone who were on the wire of a connection that was cut, one of each.
    assert in_doubt <= set[str]().union(*cut), figures
    assert all(len(in_doubt & on_it) <= 1 for on_it in cut), figures
    return figures


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", ["sending", "suppression", "delivery", "nats", "postgresql", "relay", "streams"]
)
async def test_a_part_lost_in_mid_campaign_loses_nobody_and_sends_nothing_twice(
    site: Site, member: Tenant, links: UnsubscribeLinks, part: str, record_property: RecordProperty
) -> None:
    chance = random.Random(f"{SEED} {part}")
    blow = site.lose_streams() if part == "streams" else site.kill(part)
    async with explained(site):
        mailing = Mailing(site.record, readers(RECIPIENTS))
        campaign = await launched(member, mailing)
        async with asyncio.TaskGroup() as group:
            leaving = group.create_task(leave(mailing, member, links, chance))
            hits = await mailing.flow_and_be_hit(blow, POINTS, chance)
        report = await completed(member, campaign)
        figures = await everybody_is_accounted_for(mailing, member, report, leaving.result())
    points = ", ".join(f"{hit:,}" for hit in hits)
    record_property("figure", f"{part} lost at {points} of {RECIPIENTS:,}: {figures} (seed {SEED})")


@pytest.mark.slow
async def test_a_relay_that_breaks_connections_inside_data_leaves_one_message_of_each_in_doubt(
    site: Site, member: Tenant, links: UnsubscribeLinks, record_property: RecordProperty
) -> None:
    chance = random.Random(f"{SEED} data")
    async with explained(site):
        mailing = Mailing(site.record, readers(RECIPIENTS), broken_share=BROKEN_SHARE)
        campaign = await launched(member, mailing)
        mailing.flow()
        left = await leave(mailing, member, links, chance)
        report = await completed(member, campaign)
        figures = await everybody_is_accounted_for(mailing, member, report, left)
        assert report.indeterminate > 0
    record_property("figure", f"connections lost inside DATA of {RECIPIENTS:,}: {figures} (seed {SEED})")


@pytest.mark.slow
async def test_single_messages_outlive_a_killed_delivery_process_and_repeat_only_their_message_id(
    site: Site, member: Tenant, record_property: RecordProperty
) -> None:
    chance = random.Random(f"{SEED} single")
    async with explained(site):
        mailing = Mailing(site.record, readers(SINGLE))
        waiting = sorted(mailing.people)

        async def order() -> None:
            while waiting:
                await member.message(to=waiting.pop())

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(order())
            hits = await mailing.flow_and_be_hit(site.kill("delivery"), POINTS, chance)

        async def all_are_sent() -> bool:
            # What was in doubt goes again after a minute; that is too long to wait for.
            await member.rows("UPDATE messages SET next_attempt_at = now() WHERE status = 'deferred'")
            await member.rows("UPDATE batches SET due_at = now() WHERE tried")
            return await member.statuses() == dict.fromkeys(mailing.people, "sent")

        await until(all_are_sent, PATIENCE_SECONDS, pause=0.5)
        copies, cut = mailing.copies(), mailing.cut()
        repeated = {person for person, number in copies.items() if number > 1}
        assert copies.keys() == mailing.people
        assert repeated <= set[str]().union(*cut)
        assert len(mailing.message_ids()) == SINGLE
    points = " and ".join(map(str, hits))
    record_property(
        "figure",
        f"delivery lost at {points} of {SINGLE} single messages: 0 lost, {len(repeated)} repeated with their Message-ID "
        f"on {len(cut)} connections cut (seed {SEED})",
    )
