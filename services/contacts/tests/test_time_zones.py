"""By which clocks contacts live: kept as it was said, wherever it was said, and nothing but zones that there are."""

import pytest

from chassis.errors import InvalidRequest
from flownurture.contacts.v1 import contacts_pb2 as pb
from services.contacts.tests.tenant import Tenant
from services.contacts.time_zones import parse_time_zone

ADA = "ada@example.com"


async def zone_of(tenant: Tenant) -> str:
    zone: str = (await tenant.everybody())[ADA].time_zone
    return zone


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/Argentina/ComodRivadavia", "UTC", " UTC ", ""])
def test_a_zone_is_kept_by_its_name(name: str) -> None:
    assert parse_time_zone(name) == name.strip()


@pytest.mark.parametrize(
    "name",
    ["Berlin", "europe/berlin", "Factory", "localtime", "posixrules", "../Europe/Berlin", "+01:00", "UTC\0"],
)
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="IANA name"):
        parse_time_zone(name)


async def test_a_zone_is_written_read_and_told(tenant: Tenant) -> None:
    ada = await tenant.add(ADA, time_zone="Europe/Berlin")
    assert ada.time_zone == "Europe/Berlin"
    (told,) = await tenant.told_of_created()
    assert list(told.contacts) == [ada]
    moved = await tenant(pb.UpdateContactRequest(contact_id=ada.id, time_zone="Asia/Tokyo"))
    assert moved.time_zone == await zone_of(tenant) == "Asia/Tokyo"
    await tenant(pb.UpdateContactRequest(contact_id=ada.id, first_name="Ada"))
    assert await zone_of(tenant) == "Asia/Tokyo"
    await tenant(pb.UpdateContactRequest(contact_id=ada.id, time_zone=""))
    assert await zone_of(tenant) == ""


async def test_an_upsert_leaves_a_zone_of_which_it_says_nothing(tenant: Tenant) -> None:
    await tenant(pb.UpsertContactRequest(email=ADA, time_zone="Europe/Berlin"))
    await tenant(pb.UpsertContactRequest(email=ADA, first_name="Ada"))
    assert await zone_of(tenant) == "Europe/Berlin"
    batch = [pb.UpsertContactRequest(email=ADA, time_zone="Asia/Tokyo")]
    await tenant(pb.BatchUpsertContactsRequest(contacts=batch))
    assert await zone_of(tenant) == "Asia/Tokyo"
    await tenant(pb.UpsertContactRequest(email=ADA, time_zone=""))
    assert await zone_of(tenant) == ""


async def test_a_request_with_a_zone_that_there_is_not_names_the_field(tenant: Tenant) -> None:
    ada = await tenant.add(ADA)
    right, wrong = (
        pb.UpsertContactRequest(email=ADA),
        pb.UpsertContactRequest(email="e@x.test", time_zone="X"),
    )
    for request, at_fault in (
        (pb.CreateContactRequest(email="eve@example.com", time_zone="Mars/Olympus"), "time_zone"),
        (pb.UpdateContactRequest(contact_id=ada.id, time_zone="Mars/Olympus"), "time_zone"),
        (wrong, "time_zone"),
        (pb.BatchUpsertContactsRequest(contacts=[right, wrong]), "contacts[1].time_zone"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await tenant(request)
        assert [violation.field for violation in refused.value.violations] == [at_fault]


@pytest.mark.parametrize("column", ["time_zone", "Time Zone", "timezone"])
async def test_a_file_says_zones(tenant: Tenant, column: str) -> None:
    await tenant.import_file(f"email,{column}\n{ADA},Europe/Berlin\n".encode())
    assert await zone_of(tenant) == "Europe/Berlin"
    await tenant.import_file(f"email,{column}\n{ADA},\n".encode())
    assert await zone_of(tenant) == "Europe/Berlin"
    found = await tenant.import_file(f"email,{column}\n{ADA},Asia/Tokyo\nb@x.test,GMT+25\n".encode())
    assert [(error.line, error.field) for error in found.errors] == [(3, "time_zone")]
    assert await zone_of(tenant) == "Asia/Tokyo"
    (created, *_) = await tenant.told_of_created()
    assert created.contacts[0].time_zone == "Europe/Berlin"
