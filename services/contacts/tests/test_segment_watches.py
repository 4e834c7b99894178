"""Watched segments: whoever comes in is told of once, and nobody who was there."""

import asyncio
from uuid import UUID

import pytest
from google.protobuf.struct_pb2 import Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from chassis.database import Database, RoleDatabase
from chassis.identifiers import new_id
from chassis.tests.deadlines import until
from flownurture.contacts.v1 import contacts_pb2, events_pb2, segments_pb2
from flownurture.workflows.v1.events_pb2 import SegmentsWatched
from services.contacts.segment_watches import SegmentWatcher
from services.contacts.tests.tenant import Tenant
from services.contacts.tests.test_import_worker import Killed, MortalDatabase

IN = segments_pb2.Rule(
    field=segments_pb2.FieldCondition(
        name=segments_pb2.CONTACT_FIELD_FIRST_NAME,
        operator=segments_pb2.OPERATOR_EQUALS,
        value=Value(string_value="in"),
    )
)
PEOPLE = [f"r{number}@example.com" for number in range(7)]
PAGE = 3


class Watch:
    """A segment of whoever is called `in`, as the watcher sees it."""

    def __init__(self, tenant: Tenant, database: Database, scheduler: RoleDatabase) -> None:
        self.tenant = tenant
        self.segment_id = ""
        self._database = database
        self._scheduler = scheduler

    async def begin(self, event_id: UUID | None = None) -> None:
        """Let the service hear that the segment is watched, and look for the first time."""
        if not self.segment_id:
            made = await self.tenant(segments_pb2.CreateSegmentRequest(name="In", rule=IN))
            self.segment_id = made.id
        await self.hear(self.segment_id, event_id=event_id)
        await self.look()

    async def hear(self, *segment_ids: str, event_id: UUID | None = None) -> None:
        """Let the service hear which segments are watched."""
        await self.tenant.hear(SegmentsWatched(segment_ids=segment_ids), event_id)

    async def look(self, database: Database | None = None) -> None:
        """Look at all watched segments, as if a minute had passed."""
        await self.tenant.execute("UPDATE segment_watches SET next_look_at = now()")
        await self.turn(database)

    async def turn(self, database: Database | None = None) -> None:
        """Look at those that it is time to look at."""
        watcher = SegmentWatcher(database or self._database, self._scheduler, page=PAGE)
        async with self._database.tenant_transaction(self.tenant.context) as session:
            ids = list((await session.execute(text("SELECT id FROM segment_watches ORDER BY id"))).scalars())
        for watch_id in ids:
            await watcher.take_turn(self.tenant.context, watch_id)

    async def name(self, *emails: str, as_: str = "in") -> None:
        """Call contacts so; those that are not there come to be."""
        people = [contacts_pb2.UpsertContactRequest(email=email, first_name=as_) for email in emails]
        await self.tenant(contacts_pb2.BatchUpsertContactsRequest(contacts=people))

    async def told(self) -> list[str]:
        """The addresses of who has come in, in the order in which that was told."""
        by_id = {contact.id: email for email, contact in (await self.tenant.everybody()).items()}
        return [
            by_id[contact_id]
            for event in await self.tenant.published()
            if isinstance(event, events_pb2.SegmentEntered) and event.segment_id == self.segment_id
            for contact_id in event.contact_ids
        ]


@pytest.fixture
def watch(tenant: Tenant, database: Database, scheduler: RoleDatabase) -> Watch:
    return Watch(tenant, database, scheduler)


async def test_who_comes_in_is_told_of_once_and_nobody_who_was_there(watch: Watch) -> None:
    await watch.name(*PEOPLE[:5])
    await watch.name(*PEOPLE[5:], as_="out")
    await watch.begin()
    assert await watch.told() == []
    await watch.name(PEOPLE[6])
    for _ in range(2):
        await watch.look()
        assert await watch.told() == [PEOPLE[6]]
    await watch.name(PEOPLE[0], as_="out")
    await watch.look()
    await watch.name(PEOPLE[0])
    await watch.look()
    assert await watch.told() == [PEOPLE[6], PEOPLE[0]]


async def test_any_comings_and_goings_are_told_as_they_are_seen(watch: Watch) -> None:
    drawn: list[list[tuple[str, bool]]] = []

    # Hypothesis draws, and the event loop that the database belongs to runs the checks.
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.sampled_from(PEOPLE), st.booleans()), max_size=5))
    def draw(moves: list[tuple[str, bool]]) -> None:
        drawn.append(moves)

    draw()
    await watch.name(*PEOPLE, as_="out")
    await watch.begin()
    inside: set[str] = set()
    told = 0
    for moves in drawn:
        before = set(inside)
        for email, comes in moves:
            await watch.name(email, as_="in" if comes else "out")
            inside = inside | {email} if comes else inside - {email}
        await watch.look()
        seen = await watch.told()
        assert sorted(seen[told:]) == sorted(inside - before), moves
        told = len(seen)


async def test_who_came_to_be_after_the_watch_began_comes_in_at_the_first_look(watch: Watch) -> None:
    await watch.name(PEOPLE[0])
    earlier = new_id()
    await watch.name(PEOPLE[1])
    await watch.begin(earlier)
    assert await watch.told() == [PEOPLE[1]]


async def test_a_segment_is_looked_at_a_minute_later_and_not_before(watch: Watch) -> None:
    await watch.begin()
    await watch.name(PEOPLE[0])
    await watch.turn()
    assert await watch.told() == []
    due = "next_look_at BETWEEN now() + interval '20 seconds' AND now() + interval '1 minute'"
    assert await watch.tenant.count(f"segment_watches WHERE {due}") == 1


async def test_of_events_in_any_order_the_latest_says_what_is_watched(watch: Watch) -> None:
    before, none, after = new_id(), new_id(), new_id()
    await watch.name(PEOPLE[0])
    await watch.begin(after)
    for event_id in (before, none, after):
        await watch.hear(event_id=event_id)
        await watch.hear(watch.segment_id, event_id=event_id)
    await watch.name(PEOPLE[1])
    await watch.look()
    assert await watch.tenant.count("segment_watches WHERE ended_at IS NULL") == 1
    assert PEOPLE[1] in await watch.told()


async def test_a_segment_that_is_watched_still_is_not_begun_anew(watch: Watch) -> None:
    await watch.begin()
    other = await watch.tenant(segments_pb2.CreateSegmentRequest(name="Other", rule=IN))
    await watch.name(PEOPLE[0], as_="out")
    await watch.look()
    await watch.name(PEOPLE[0])
    await watch.hear(watch.segment_id, other.id)
    await watch.look()
    assert await watch.told() == [PEOPLE[0]]


async def test_what_is_watched_no_more_is_forgotten_and_begins_anew(watch: Watch) -> None:
    await watch.name(*PEOPLE)
    await watch.begin()
    assert await watch.tenant.count("segment_members") == len(PEOPLE)
    await watch.hear()
    await watch.hear(watch.segment_id)
    await watch.look()
    assert await watch.tenant.count("segment_watches") == 1
    assert await watch.tenant.count("segment_members") == len(PEOPLE)
    assert await watch.told() == []
    await watch.hear()
    await watch.look()
    assert await watch.tenant.count("segment_watches") + await watch.tenant.count("segment_members") == 0


async def test_the_watch_of_a_deleted_segment_ends(watch: Watch) -> None:
    await watch.name(*PEOPLE)
    await watch.begin()
    await watch.tenant(segments_pb2.DeleteSegmentRequest(segment_id=watch.segment_id))
    await watch.look()
    assert await watch.tenant.count("segment_watches") + await watch.tenant.count("segment_members") == 0


async def test_who_is_erased_is_not_kept(watch: Watch) -> None:
    await watch.name(*PEOPLE)
    await watch.begin()
    erased = (await watch.tenant.everybody())[PEOPLE[3]]
    await watch.tenant(contacts_pb2.DeleteContactRequest(contact_id=erased.id))
    await watch.look()
    assert await watch.tenant.count("segment_members") == len(PEOPLE) - 1


@pytest.mark.parametrize("at_the_end", [False, True])
@pytest.mark.parametrize("dies_in", range(1, 5))
async def test_whoever_comes_in_is_told_of_once_though_the_watcher_dies(
    watch: Watch, database: Database, dies_in: int, at_the_end: bool
) -> None:
    await watch.name(*PEOPLE, as_="out")
    await watch.begin()
    await watch.name(*PEOPLE)
    with pytest.raises(Killed):
        await watch.look(MortalDatabase(database, dies_in, at_the_end=at_the_end))
    await watch.look()
    assert sorted(await watch.told()) == PEOPLE


async def test_a_running_watcher_looks_at_what_is_watched_in_any_organization(
    watch: Watch, stranger: Tenant, database: Database, scheduler: RoleDatabase
) -> None:
    theirs = Watch(stranger, database, scheduler)
    for each in (watch, theirs):
        await each.begin()
        await each.name(PEOPLE[0])
        await each.tenant.execute("UPDATE segment_watches SET next_look_at = now()")
    running = asyncio.create_task(SegmentWatcher(database, scheduler).run())
    try:
        for each in (watch, theirs):

            async def told(each: Watch = each) -> bool:
                return await each.told() == [PEOPLE[0]]

            await until(told)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
