"""Workflows whose processes, database and bus are killed as thousands are on their way: all of them arrive, the counts add up, no mail is there twice.

The processes are the real ones, two of them for workflows, on a database server, a broker and a relay of their own. Contacts are the test's, over
real gRPC; they carry out the orders that come by the bus. Waits are moved on by putting back the hour at which they end.

KILL_ENROLLMENTS says how many are on their way, KILL_POINTS how often a workflows process is killed, KILL_SEED repeats the points of a run.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from chassis.database import Database
from chassis.errors import Unavailable
from chassis.events import EventBus
from chassis.rpc.client import Peer
from chassis.rpc.server import RpcServer
from chassis.secret import Secret
from chassis.settings import EventsSettings
from chassis.stamp import StampVerifier
from chassis.tests.deadlines import until
from chassis.vault.settings import wrapping_of
from chassis.vault.vault import Vault
from deploy.local.servers.program import HOST
from services.sending.delivery.settings import DeliverySettings
from services.sending.fan_out import FanOut
from services.sending.platform_domain import ensure_platform_domain
from services.sending.tests.audience import Audience
from services.sending.tests.neighbours import Neighbour, Neighbours
from services.sending.tests.served_neighbours import ServedNeighbours
from services.sending.tests.site import Blow, Site, open_site, site_folder
from services.sending.tests.tenant import Tenant
from services.sending.verification import fresh_keys
from services.sending.workflows.documents import Version
from services.sending.workflows.enrolling import MOST_PEOPLE, Source, enroll
from services.sending.workflows.lifecycle import Workflow, activate_workflow, create_workflow
from services.sending.workflows.tests.drafts import TAG, branch, document, leave, mail, step, wait

ENROLLMENTS = int(os.environ.get("KILL_ENROLLMENTS", "500"))
POINTS = int(os.environ.get("KILL_POINTS", "1"))
SEED = int(os.environ.get("KILL_SEED", random.randrange(2**32)))
PATIENCE_SECONDS = 600

_PROCESSES = {
    "suppression": "suppression",
    "delivery": "delivery",
    "workflows-1": "workflows",
    "workflows-2": "workflows",
}
_DOCUMENT = document(
    mail("hello"),
    wait("pause", duration={"hours": 1}),
    step("mark", add_tag={"tag_id": TAG}),
    branch("marked", "again", otherwise="lost"),
    leave("lost", "the tag was not seen"),
    mail("again"),
    wait("rest", duration={"hours": 1}),
    leave("end", "done"),
)
_MAILS = ("hello", "again")
# Once for everybody; `lost` for nobody.
_TAKEN = ("hello", "pause", "mark", "marked", "again", "rest")
_MOVE_ON = "UPDATE enrollment_places SET wake_at = now() WHERE waiting AND wake_at > now()"

RecordProperty = Callable[[str, object], None]


@pytest.fixture
def folder() -> Iterator[Path]:
    with site_folder("flownurture-workflow-kills-") as folder:
        yield folder


@pytest.fixture
def neighbours() -> Neighbours:
    return Neighbours()


@pytest.fixture
async def served(neighbours: Neighbours, settings: DeliverySettings) -> AsyncIterator[RpcServer]:
    verifier = StampVerifier("contacts", settings.stamp_trusted_keys)
    async with RpcServer("contacts", f"{HOST}:0", verifier).add(ServedNeighbours(neighbours)) as server:
        yield server


@pytest.fixture
async def site(folder: Path, servers: Any, served: RpcServer, identity: RpcServer) -> AsyncIterator[Site]:
    others = {"contacts": f"{HOST}:{served.port}", "identity": f"{HOST}:{identity.port}"}
    async with open_site(folder, servers.secrets, servers.addresses, others, _PROCESSES) as site:
        yield site


@pytest.fixture
async def member(
    *,
    site: Site,
    sending: Peer,
    suppression: Peer,
    settings: DeliverySettings,
    audience: Audience,
    fan_out: FanOut,
) -> AsyncIterator[Tenant]:
    """A member of a fresh organization, on the database that will be killed."""
    url = Secret(site.environments["suppression"]["DATABASE_URL"])
    # One of its own: those who know the keys of another database would seal with them.
    vault = Vault("sending", wrapping_of(settings))
    async with Database(url, schema="sending") as database:
        await ensure_platform_domain(database, settings.shared_domain, vault, await fresh_keys())
        yield Tenant(sending, suppression, database, audience, fan_out)


@pytest.fixture
async def carrying_out(
    site: Site, servers: Any, member: Tenant, neighbours: Neighbours
) -> AsyncIterator[asyncio.Task[None]]:
    """The contacts service as it reads the orders of workflows."""
    password = servers.secrets.bus_passwords()["contacts"]
    bus = EventsSettings(nats_url=site.addresses.nats_url, nats_user="contacts", nats_password=password)
    async with EventBus(bus) as connected:
        consumer = ServedNeighbours(neighbours).consumer(connected, member.database)
        task = asyncio.create_task(consumer.run())
        yield task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def answered(ask: Callable[[], Awaitable[Any]]) -> Any:
    """What the database says, as soon as it says anything."""
    answers: list[Any] = []

    async def answers_now() -> bool:
        with suppress(Unavailable):
            answers.append(await ask())
        return bool(answers)

    await until(answers_now, PATIENCE_SECONDS, pause=0.1)
    return answers[0]


async def come_in(member: Tenant, workflow: Workflow, people: Sequence[Neighbour]) -> None:
    """All of them, a set at a time; again, where nobody can tell whether they are in."""
    version = Version(workflow.version, workflow.document)

    async def let_in(some: Sequence[Neighbour]) -> None:
        async with member.database.tenant_transaction(member.context) as session:
            enrollees = [person.enrollee for person in some]
            await enroll(
                session, workflow.id, version, enrollees, source=Source.API, moment=datetime.now(UTC)
            )

    for start in range(0, len(people), MOST_PEOPLE):
        await answered(partial(let_in, people[start : start + MOST_PEOPLE]))


async def move_waits_on(member: Tenant) -> None:
    """Let each wait end soon after it began."""
    while True:
        await answered(partial(member.rows, _MOVE_ON))
        await asyncio.sleep(0.2)


async def be_hit(member: Tenant, site: Site, chance: random.Random) -> list[str]:
    """Let all that may die die at random points of the way; answers what did, and when."""
    parts = ["workflows"] * POINTS + ["postgresql", "nats"]
    chance.shuffle(parts)
    written = len(_MAILS) * ENROLLMENTS
    points = sorted(chance.sample(range(1, written * 9 // 10), len(parts)))
    blows: dict[str, Blow] = {part: site.kill(part) for part in parts}
    hits = []
    for number, (part, point) in enumerate(zip(parts, points, strict=True)):

        async def is_there(point: int = point) -> bool:
            (row,) = await answered(partial(member.rows, "SELECT count(*) AS number FROM workflow_messages"))
            return bool(row.number >= point)

        await until(is_there, PATIENCE_SECONDS)
        await blows[part](number)
        hits.append(f"{part} at {point:,}")
    return hits


async def all_have_arrived(member: Tenant, site: Site, before: int) -> None:
    """Wait until nobody is under way, and all mail that there is has gone out."""

    async def have_arrived() -> bool:
        (row,) = await answered(
            partial(member.rows, "SELECT count(*) AS number FROM enrollments WHERE ended_at IS NOT NULL")
        )
        return bool(row.number == ENROLLMENTS) and site.record.read() - before >= len(_MAILS) * ENROLLMENTS

    await until(have_arrived, PATIENCE_SECONDS, pause=0.2)


@pytest.mark.slow
async def test_workflows_that_are_killed_lose_nobody_and_do_nothing_twice(
    *,
    site: Site,
    member: Tenant,
    neighbours: Neighbours,
    carrying_out: asyncio.Task[None],
    record_property: RecordProperty,
) -> None:
    chance = random.Random(f"{SEED} workflows")
    people = [Neighbour(f"reader{number}@example.com") for number in range(ENROLLMENTS)]
    neighbours.add(*people)
    before, begun = site.record.read(), monotonic()
    try:
        async with member.database.tenant_transaction(member.context) as session:
            workflow = await activate_workflow(session, await create_workflow(session, "Welcome", _DOCUMENT))
        moving = asyncio.create_task(move_waits_on(member))
        async with asyncio.TaskGroup() as group:
            group.create_task(come_in(member, workflow, people))
            hits = group.create_task(be_hit(member, site, chance))
        await all_have_arrived(member, site, before)
        moving.cancel()
        took = monotonic() - begun
        assert not carrying_out.done()
        assert site.house.whole(), "something ended that nobody killed"
        await everybody_got_everything_once(member, site, neighbours, people)
    except BaseException as failure:
        failure.add_note(f"KILL_SEED={SEED} KILL_ENROLLMENTS={ENROLLMENTS} KILL_POINTS={POINTS}")
        failure.add_note(site.house.tails())
        raise
    record_property(
        "figure",
        f"workflows killed: {', '.join(hits.result())} of {len(_MAILS) * ENROLLMENTS:,} mails; {ENROLLMENTS:,} enrolled and ended, "
        f"{len(_MAILS) * ENROLLMENTS:,} mails written and {site.record.read() - before:,} at the relay, none twice, "
        f"{len(neighbours.effects):,} tags, each once, in {took:.0f} s (seed {SEED})",
    )


async def everybody_got_everything_once(
    member: Tenant, site: Site, neighbours: Neighbours, people: Sequence[Neighbour]
) -> None:
    """In the rows, at the relay, and at the contacts service."""
    everybody = {person.id for person in people}
    ended = await member.rows("SELECT contact_id, cause, reason FROM enrollments")
    assert Counter((row.cause, row.reason) for row in ended) == {("exit_step", "done"): ENROLLMENTS}
    assert {row.contact_id for row in ended} == everybody
    assert await member.rows("SELECT FROM enrollment_places") == []
    written = await member.rows("""
        SELECT message.contact_id, told.step_id, message.status FROM workflow_messages AS told
        JOIN messages AS message ON message.id = told.message_id
    """)
    once_each = Counter((person, step_id) for person in everybody for step_id in _MAILS)
    assert Counter((row.contact_id, row.step_id) for row in written) == once_each
    copies = Counter(note.recipient for note in site.record.taken)
    assert copies == Counter({person.email: len(_MAILS) for person in people})
    ids = Counter(note.message_id for note in site.record.taken)
    assert set(ids.values()) == {1}
    assert Counter(neighbours.effects).most_common(1)[0][1] == 1
    assert len(neighbours.effects) == ENROLLMENTS
    assert all(person.tags == {TAG} for person in people)
    counts = await member.rows("SELECT step_id, what, reason, number FROM workflow_counts")
    assert {tuple(row) for row in counts} == {
        ("", "enrolled", "", ENROLLMENTS),
        ("end", "exit_step", "done", ENROLLMENTS),
        *((step_id, "taken", "", ENROLLMENTS) for step_id in _TAKEN),
    }
    lines = await member.rows("SELECT count(*) AS number FROM enrollment_trace GROUP BY enrollment_id")
    # A line more for each wait that began, and one for the end.
    assert {row.number for row in lines} == {len(_TAKEN) + 3}
    (used,) = await member.rows("SELECT sum(emails) AS number FROM email_usage")
    assert used.number == len(_MAILS) * ENROLLMENTS
