"""Occasions: whoever's day it is, by their clocks, once, and nobody else."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date, timedelta
from uuid import UUID

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.database import Database
from chassis.errors import InvalidRequest, PermissionDenied
from chassis.rpc.client import Peer
from flownurture.contacts.v1 import contacts_pb2, custom_fields_pb2
from flownurture.contacts.v1 import workflow_contacts_pb2 as pb
from flownurture.contacts.v1.workflow_contacts_pb2_grpc import WorkflowContactServiceStub
from services.contacts.occasions import OccasionDay, stream_occasions
from services.contacts.tests.tenant import Tenant

ZONES = ("", "UTC", "Europe/Berlin", "Asia/Tokyo")
YEARS = st.sampled_from([1972, 1999, 2000, 2023, 2024, 2026, 2027, 2028, 9996])
MONTHS_AND_DAYS = st.sampled_from([(2, 28), (2, 29), (3, 1), (12, 31), (1, 1)])


@pytest.fixture
async def workflows(peer_as: Callable[[str], Peer], tenant: Tenant) -> AsyncIterator[Tenant]:
    """The workflows process, on behalf of the tenant's organization."""
    async with peer_as("workflows") as peer:
        yield tenant.called_by(peer)


def day(text: str, *zones: str, without_zone: bool = True) -> pb.OccasionDay:
    return pb.OccasionDay(day=text, time_zones=zones, without_zone=without_zone)


async def batches(workflows: Tenant, *days: pb.OccasionDay, **asked: object) -> list[pb.OccasionBatch]:
    request = pb.StreamOccasionsRequest(
        **{"custom_field": "born", "days": days, "batch_size": 100, **asked}  # type: ignore[arg-type]
    )
    stub = WorkflowContactServiceStub(workflows.peer.channel)
    return [batch async for batch in workflows.peer.stream(stub.StreamOccasions, request, workflows.context)]


async def born(tenant: Tenant, email: str, on: str, time_zone: str = "") -> contacts_pb2.Contact:
    values = Struct()
    values.update({"born": on})
    return await tenant.add(email, custom_fields=values, time_zone=time_zone)


async def test_who_has_the_day_comes_with_their_address(tenant: Tenant, workflows: Tenant) -> None:
    await tenant.declare("born", "date")
    ada = await born(tenant, "ada@example.com", "2026-12-10", "UTC")
    await born(tenant, "eve@example.com", "2026-12-11", "UTC")
    await born(tenant, "kim@example.com", "2026-12-10", "Asia/Tokyo")
    await tenant.add("nobody@example.com")
    (batch,) = await batches(workflows, day("2026-12-10", "UTC"))
    assert list(batch.contact_ids) == [UUID(ada.id).bytes]
    assert list(batch.days) == ["2026-12-10"]
    (described,) = (
        await workflows(pb.DescribePeopleRequest(people=[pb.Person(contact_id=batch.contact_ids[0])]))
    ).people
    assert list(batch.email_digests) == [described.email_digest]


async def test_who_is_cut_off_goes_on_behind_the_last(tenant: Tenant, workflows: Tenant) -> None:
    await tenant.declare("born", "date")
    people = [await born(tenant, f"r{number}@example.com", "1990-05-17") for number in range(5)]
    ids = sorted(UUID(contact.id).bytes for contact in people)
    got = await batches(workflows, day("2026-05-17"), yearly=True, batch_size=2)
    assert [list(batch.contact_ids) for batch in got] == [ids[:2], ids[2:4], ids[4:]]
    rest = await batches(workflows, day("2026-05-17"), yearly=True, after_contact_id=ids[2])
    assert [list(batch.contact_ids) for batch in rest] == [ids[3:]]


async def test_a_field_that_is_none_or_no_date_is_no_ones(
    tenant: Tenant, stranger: Tenant, workflows: Tenant
) -> None:
    await stranger.declare("born", "date")
    await born(stranger, "ada@example.com", "2026-12-10")
    assert await batches(workflows, day("2026-12-10")) == []
    text = await tenant.declare("born", "text")
    await born(tenant, "ada@example.com", "2026-12-10")
    assert await batches(workflows, day("2026-12-10")) == []
    await tenant(custom_fields_pb2.DeleteCustomFieldRequest(custom_field_id=text.id))
    await tenant.declare("born", "date")
    assert await batches(workflows, day("2026-12-10")) == []


async def test_what_is_no_day_is_named(workflows: Tenant) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await batches(workflows, day("2026-02-28"), day("2026-02-29"))
    assert [violation.field for violation in refused.value.violations] == ["days[1].day"]


async def test_members_do_not_ask(tenant: Tenant) -> None:
    with pytest.raises(PermissionDenied):
        await batches(tenant, day("2026-02-28"))


def is_occasion(value: date, wanted: date, *, yearly: bool) -> bool:
    """The rule in plain Python."""
    if not yearly:
        return value == wanted
    try:
        anniversary = value.replace(year=wanted.year)
    except ValueError:
        anniversary = date(wanted.year, 2, 28)
    return anniversary == wanted and wanted.year >= value.year


def dates() -> st.SearchStrategy[date]:
    def made(year: int, month_and_day: tuple[int, int]) -> date:
        try:
            return date(year, *month_and_day)
        except ValueError:
            return date(year, 3, 1) - timedelta(days=1)

    return st.builds(made, YEARS, MONTHS_AND_DAYS)


async def test_any_days_choose_exactly_whom_plain_python_chooses(tenant: Tenant, database: Database) -> None:
    await tenant.declare("born", "date")
    crowd: list[tuple[date, str]] = []
    asked: list[tuple[list[tuple[date, frozenset[str]]], bool]] = []
    zones = st.frozensets(st.sampled_from(ZONES), max_size=4)

    # Hypothesis draws, and the event loop that the database belongs to runs the checks.
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.tuples(dates(), st.sampled_from(ZONES)),
        st.lists(st.tuples(dates(), zones), max_size=5),
        st.booleans(),
    )
    def draw(person: tuple[date, str], days: list[tuple[date, frozenset[str]]], yearly: bool) -> None:
        crowd.append(person)
        asked.append((days, yearly))

    draw()
    rows = [f"r{number}@x.test,{value},{zone}" for number, (value, zone) in enumerate(crowd)]
    await tenant.import_file("\n".join(["email,born,time zone", *rows]).encode())
    people = sorted(
        (UUID(contact.id), *crowd[int(email[1 : email.index("@")])])
        for email, contact in (await tenant.everybody()).items()
    )
    for days, yearly in asked:
        expected = [
            (id_, fitting[0])
            for id_, value, zone in people
            if (
                fitting := [
                    each for each, where in days if zone in where and is_occasion(value, each, yearly=yearly)
                ]
            )
        ]
        told: list[tuple[UUID, date]] = []
        sizes: list[int] = []
        async for batch in stream_occasions(
            database, tenant.context, "born", occasions(days), yearly=yearly, after=None, size=3, window=7
        ):
            told += [(found.id, found.day) for found in batch]
            sizes.append(len(batch))
        assert told == expected, (days, yearly)
        assert all(0 < size <= 3 for size in sizes)


def occasions(days: Sequence[tuple[date, frozenset[str]]]) -> list[OccasionDay]:
    return [OccasionDay(each, zones) for each, zones in days]
