"""Webhooks under load, whose processes, database and bus are killed: every event reaches its endpoints, the attempts add up, nobody starves.

The house is the real one, with a second webhooks process beside its own, so that lanes are moved. Some of the endpoints are ill: they fail,
hang, or ask to be left alone. Contacts are imported before each blow and at it; it falls while posts are under way, and the next one
waits until every endpoint that is well was told of somebody who came after it.

KILL_WEBHOOKS says how many deliveries there are, KILL_POINTS how often each webhooks process is killed, KILL_SEED repeats the order and the
points of a run.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from time import monotonic

import httpx
import psycopg
import pytest

from deploy.demo.waiting import until
from tests.integration.house import House
from tests.integration.second_processes import SecondProcess, second_webhooks
from tests.integration.tenants import sign_up, subscribe
from tests.integration.webhook_load import FIRST, PATIENCE_SECONDS, SECOND, Load, Shop
from tests.integration.webhook_receivers import Health, Receivers, receivers

DELIVERIES = int(os.environ.get("KILL_WEBHOOKS", "1500"))
POINTS = int(os.environ.get("KILL_POINTS", "1"))
SEED = int(os.environ.get("KILL_SEED", random.randrange(2**32)))

ORGANIZATIONS = 3
# Of each organization: how they are, what they take, and how many posts a second they want.
ENDPOINTS = (
    *[(Health.WELL, "contact.created", 0)] * 4,
    (Health.WELL, "contact.*", 0),
    (Health.WELL, "*", 0),
    (Health.WELL, "contact.created", 50),
    (Health.FAILS, "contact.created", 0),
    (Health.HANGS, "contact.created", 0),
    (Health.IS_FULL, "contact.created", 0),
)

_MOVE_ON = """
    WITH awake AS (
        UPDATE webhooks.endpoints SET paused_until = NULL WHERE organization_id = ANY(%(ids)s::uuid[])
    )
    UPDATE webhooks.deliveries SET due_at = now() WHERE due_at > now() AND organization_id = ANY(%(ids)s::uuid[])
"""
_PENDING = """
    SELECT count(*) FROM webhooks.deliveries WHERE organization_id = ANY(%s::uuid[]) AND status = 'pending'
"""
_EVENTS = "SELECT id::text, type, contact_id::text FROM webhooks.events WHERE organization_id = %s"
_ATTEMPTS = """
    SELECT delivery_id::text, array_agg(number ORDER BY number), array_agg(outcome ORDER BY number)
    FROM webhooks.attempts WHERE organization_id = %s GROUP BY delivery_id
"""

RecordProperty = Callable[[str, object], None]


@contextmanager
def repeatable() -> Iterator[None]:
    """Tell with a failure how to repeat it."""
    try:
        yield
    except BaseException as failure:
        failure.add_note(f"KILL_SEED={SEED} KILL_WEBHOOKS={DELIVERIES} KILL_POINTS={POINTS}")
        raise


@pytest.fixture
async def street() -> AsyncIterator[Receivers]:
    async with receivers() as opened:
        yield opened


@pytest.fixture
async def second(house: House) -> AsyncIterator[SecondProcess]:
    async with second_webhooks(house) as process:
        yield process


async def open_shop(api: httpx.AsyncClient, street: Receivers) -> Shop:
    tenant = await sign_up(api)
    await subscribe(api, tenant, "pro")
    endpoints = {}
    for health, event_type, rate_limit in ENDPOINTS:
        receiver = street.add(health)
        created = await tenant.owner.post(
            "/v1/webhook-endpoints",
            {"url": receiver.url, "event_types": [event_type], "rate_limit": rate_limit},
        )
        receiver.secret = created["secret"]
        endpoints[created["id"]] = receiver
    return Shop(tenant, endpoints)


@pytest.fixture
async def load(house: House, api: httpx.AsyncClient, street: Receivers, second: SecondProcess) -> Load:
    return Load(house, second, [await open_shop(api, street) for _ in range(ORGANIZATIONS)])


async def be_hit(load: Load, chance: random.Random) -> list[str]:
    """Let all that may die die in the midst of an import; answers what did, and when."""
    parts = [FIRST, SECOND] * POINTS + ["postgres", "nats"]
    chance.shuffle(parts)
    piece = max(1, DELIVERIES // (ORGANIZATIONS * len(ENDPOINTS) * 2 * len(parts)))
    posts_of_a_piece = piece * sum(len(shop.well) for shop in load.shops)
    hits = []
    for part in parts:
        before = load.posts
        await load.import_some(piece)
        await load.reaches(before + chance.randrange(posts_of_a_piece // 2))
        hits.append(f"{part} at {load.posts:,}")
        await load.be_hit(part)
        async with asyncio.TaskGroup() as group:
            group.create_task(load.be_mended(part))
            await load.import_some(piece)
            await load.goes_on()
    return hits


async def be_told_to_end(load: Load) -> None:
    """Let the second process end and start as a deployment has it, each in the midst of an import."""
    turns = [load.second.stop, load.second.start] * (POINTS + 1)
    piece = max(1, DELIVERIES // (ORGANIZATIONS * len(ENDPOINTS) * 2 * len(turns)))
    for turn in turns:
        before = load.posts
        await load.import_some(piece)
        await load.reaches(before + piece)
        async with asyncio.TaskGroup() as group:
            group.create_task(turn())
            await load.import_some(piece)
            await load.goes_on()


async def contacts_of(shop: Shop) -> list[str]:
    """Once everything is imported."""

    async def unfinished() -> list[str]:
        imports = await shop.tenant.key.every("/v1/contacts/imports", "imports")
        return [each["id"] for each in imports if each["status"] != "completed"]

    assert not await until(unfinished, lambda seen: not seen, seconds=PATIENCE_SECONDS)
    return [contact["id"] for contact in await shop.tenant.key.every("/v1/contacts", "contacts")]


async def everything_is_over(load: Load, number: int) -> None:
    """Wait until so many events of contacts who were created are told and nothing is left to be posted; no pause is waited for."""

    async def is_left() -> tuple[int, int]:
        async with await psycopg.AsyncConnection.connect(load.house.facts["database_url"]) as connection:
            await connection.execute(_MOVE_ON, {"ids": load.organization_ids})
        ((pending,),) = await load.rows(_PENDING, load.organization_ids)
        created = [
            row
            for shop in load.shops
            for row in await load.rows(_EVENTS, shop.tenant.organization_id)
            if row[1] == "contact.created"
        ]
        return number - len(created), pending

    assert await until(is_left, lambda seen: seen == (0, 0), seconds=PATIENCE_SECONDS) == (0, 0)


async def one_was_told_of_everything(load: Load, shop: Shop, contacts: list[str]) -> tuple[int, int]:
    """Compare what came with what the rows and the API say; answers how many attempts there were, and how many posts beside them."""
    organization_id = shop.tenant.organization_id
    events = {row[0]: row[1:] for row in await load.rows(_EVENTS, organization_id)}
    created = {
        event_id: contact_id for event_id, (kind, contact_id) in events.items() if kind == "contact.created"
    }
    assert Counter(created.values()) == Counter(contacts)
    attempts = {row[0]: row[1:] for row in await load.rows(_ATTEMPTS, organization_id)}
    recorded = beside = 0
    for (endpoint_id, receiver), (_, event_type, _) in zip(shop.endpoints.items(), ENDPOINTS, strict=True):
        listed = await shop.tenant.owner.every(
            f"/v1/webhook-endpoints/{endpoint_id}/deliveries", "deliveries"
        )
        taken = {event_id for event_id, (kind, _) in events.items() if fnmatch(kind, event_type)}
        assert Counter(delivery["event_id"] for delivery in listed) == Counter(taken)
        assert receiver.copies.keys() == taken
        assert receiver.not_verified == 0
        assert all(len(bodies) == 1 for bodies in receiver.bodies.values())
        for delivery in listed:
            numbers, outcomes = attempts[delivery["id"]]
            assert (delivery["status"], delivery["last_status_code"]) == ("delivered", 200)
            assert numbers == list(range(1, delivery["attempt_count"] + 1))
            assert outcomes.index("delivered") == len(outcomes) - 1
            more = receiver.copies[delivery["event_id"]] - len(numbers)
            assert 0 <= more <= 2 * POINTS
            recorded += len(numbers)
            beside += more
    return recorded, beside


async def everybody_was_told_of_everything(load: Load) -> tuple[int, int, int]:
    """The same of all organizations, once nothing is left; answers how many contacts there were as well."""
    contacts = [await contacts_of(shop) for shop in load.shops]
    await everything_is_over(load, sum(map(len, contacts)))
    figures = [
        await one_was_told_of_everything(load, *each) for each in zip(load.shops, contacts, strict=True)
    ]
    recorded, beside = map(sum, zip(*figures, strict=True))
    return sum(map(len, contacts)), recorded, beside


@pytest.mark.slow
async def test_webhooks_that_are_killed_reach_everybody_and_starve_nobody(
    load: Load, street: Receivers, record_property: RecordProperty
) -> None:
    begun = monotonic()
    with repeatable():
        hits = await be_hit(load, random.Random(f"{SEED} webhooks"))
        street.make_well()
        contacts, recorded, beside = await everybody_was_told_of_everything(load)
        assert beside <= load.in_doubt
    deliveries = sum(len(each.copies) for each in load.receivers)
    record_property(
        "figure",
        f"webhooks killed: {', '.join(hits)} posts to those that are well; {contacts:,} contacts, {deliveries:,} deliveries "
        f"at {len(load.receivers)} endpoints, none lost, {recorded:,} attempts, each written down once, and {beside} posts beside them of "
        f"{load.in_doubt} in doubt; told of a newcomer after {load.longest_wait:.1f} s at the latest, in {monotonic() - begun:.0f} s "
        f"(seed {SEED})",
    )


@pytest.mark.slow
async def test_webhooks_that_are_told_to_end_post_nothing_beside_what_they_write_down(
    load: Load, street: Receivers, record_property: RecordProperty
) -> None:
    with repeatable():
        await be_told_to_end(load)
        street.make_well()
        _, recorded, beside = await everybody_was_told_of_everything(load)
        assert beside == 0
    record_property(
        "figure",
        f"webhooks stopped and started {POINTS + 1} times: {recorded:,} attempts, {beside} posts beside them; told of a newcomer after "
        f"{load.longest_wait:.1f} s at the latest",
    )
