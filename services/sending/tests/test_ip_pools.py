"""Pools of addresses that one organization has to itself, as operators make them and it sees them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from chassis.errors import Conflict, FailedPrecondition, InvalidRequest, NotFound, PermissionDenied
from flownurture.sending.v1 import ip_pools_pb2 as pb
from services.sending import warm_up
from services.sending.tests.plan import Plan
from services.sending.tests.tenant import Tenant

URL = "smtps://ada:s3cret-of-hers@relay.example.com"


def address(**fields: object) -> pb.NewIpPoolAddress:
    return pb.NewIpPoolAddress(**fields)  # type: ignore[arg-type]


async def dedicated(tenant: Tenant, plan: Plan, *addresses: pb.NewIpPoolAddress) -> pb.IpPool:
    plan.grant(tenant.context.organization, "dedicated_ips")
    tenant.subscribe("dedicated_ips")
    made: pb.IpPool = await tenant.as_operator(
        pb.CreateIpPoolRequest(
            organization_id=str(tenant.context.organization),
            name="Own",
            addresses=addresses or (address(source_address="192.0.2.1"),),
        )
    )
    return made


async def test_an_organization_sees_its_pool_and_nobody_elses(
    tenant: Tenant, stranger: Tenant, plan: Plan
) -> None:
    made = await dedicated(tenant, plan)
    stranger.subscribe("dedicated_ips")
    assert list((await tenant(pb.ListIpPoolsRequest())).ip_pools) == [made]
    assert await tenant(pb.GetIpPoolRequest(ip_pool_id=made.id)) == made
    assert not (await stranger(pb.ListIpPoolsRequest())).ip_pools
    with pytest.raises(NotFound):
        await stranger(pb.GetIpPoolRequest(ip_pool_id=made.id))


async def test_a_pool_takes_a_plan_that_has_dedicated_addresses(tenant: Tenant, plan: Plan) -> None:
    organization = tenant.context.organization
    order = pb.CreateIpPoolRequest(
        organization_id=str(organization), name="Own", addresses=[address(source_address="192.0.2.1")]
    )
    with pytest.raises(FailedPrecondition):
        await tenant.as_operator(order)
    with pytest.raises(PermissionDenied):
        await tenant(pb.ListIpPoolsRequest())
    plan.forget(organization)
    for request in (order, pb.ListOrganizationIpPoolsRequest(organization_id=str(organization))):
        with pytest.raises(NotFound):
            await tenant.as_operator(request)


async def test_nobody_but_an_operator_makes_a_pool(tenant: Tenant, plan: Plan) -> None:
    plan.grant(tenant.context.organization, "dedicated_ips")
    with pytest.raises(PermissionDenied):
        await tenant(
            pb.CreateIpPoolRequest(
                organization_id=str(tenant.context.organization),
                name="Own",
                addresses=[address(source_address="192.0.2.1")],
            )
        )


async def test_a_relays_password_is_sealed_and_never_shown(tenant: Tenant, plan: Plan) -> None:
    made = await dedicated(tenant, plan, address(relay_url=URL))
    assert [shown.relay for shown in made.addresses] == ["relay.example.com:465"]
    (row,) = await tenant.rows("SELECT * FROM ip_pool_addresses")
    assert b"s3cret-of-hers" not in bytes(row.sealed_relay_url)
    assert "s3cret-of-hers" not in f"{made} {row}"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (address(), "addresses[0]"),
        (address(relay_url="http://relay.example.com"), "addresses[0].relay_url"),
        (address(relay_url="smtp://relay.example.com:port"), "addresses[0].relay_url"),
        (address(source_address="192.0.2.256"), "addresses[0].source_address"),
    ],
)
async def test_what_is_no_way_out_is_refused_by_its_field(
    tenant: Tenant, plan: Plan, wrong: pb.NewIpPoolAddress, field: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await dedicated(tenant, plan, wrong)
    assert [violation.field for violation in refusal.value.violations] == [field]


async def test_an_organization_has_one_pool_and_a_pool_keeps_an_address(tenant: Tenant, plan: Plan) -> None:
    made = await dedicated(tenant, plan)
    with pytest.raises(Conflict):
        await dedicated(tenant, plan)
    of = {"organization_id": str(tenant.context.organization), "ip_pool_id": made.id}
    with pytest.raises(Conflict):
        await tenant.as_operator(pb.RemoveIpPoolAddressRequest(address_id=made.addresses[0].id, **of))
    grown = await tenant.as_operator(
        pb.AddIpPoolAddressRequest(address=address(source_address="2001:db8::1"), **of)
    )
    assert [shown.source_address for shown in grown.addresses] == ["192.0.2.1", "2001:db8::1"]
    shrunk = await tenant.as_operator(pb.RemoveIpPoolAddressRequest(address_id=made.addresses[0].id, **of))
    assert [shown.source_address for shown in shrunk.addresses] == ["2001:db8::1"]
    await tenant.as_operator(pb.DeleteIpPoolRequest(**of))
    assert not (await tenant(pb.ListIpPoolsRequest())).ip_pools


async def test_an_operator_reaches_a_pool_through_its_own_organization_alone(
    tenant: Tenant, stranger: Tenant, plan: Plan
) -> None:
    made = await dedicated(tenant, plan)
    with pytest.raises(NotFound):
        await tenant.as_operator(
            pb.DeleteIpPoolRequest(organization_id=str(stranger.context.organization), ip_pool_id=made.id)
        )


async def test_an_address_hands_over_its_days_volume_and_no_more(tenant: Tenant, plan: Plan) -> None:
    made = await dedicated(tenant, plan)
    (cold,) = made.addresses
    assert (cold.warm_up.day, cold.warm_up.allowed, cold.warm_up.used) == (1, warm_up.volumes()[0], 0)
    taken = [await take(tenant, cold.id, wanted) for wanted in (30, 30, 30)]
    assert taken == [30, warm_up.volumes()[0] - 30, 0]
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await warm_up.give_back(session, UUID(cold.id), 5)
    assert await take(tenant, cold.id, 30) == 5


async def test_a_day_that_was_hardly_used_warms_nothing_up(tenant: Tenant, plan: Plan) -> None:
    (cold,) = (await dedicated(tenant, plan)).addresses
    first, second, third = warm_up.volumes()[:3]
    assert await take(tenant, cold.id, 1_000) == first
    await a_day_later(tenant)
    assert await take(tenant, cold.id, second // 2 - 1) == second // 2 - 1
    await a_day_later(tenant)
    assert await take(tenant, cold.id, 1_000_000) == second
    await a_day_later(tenant)
    assert await take(tenant, cold.id, 1_000_000) == third


async def test_an_address_is_warm_once_its_schedule_is_behind_it(tenant: Tenant, plan: Plan) -> None:
    made = await dedicated(tenant, plan)
    (cold,) = made.addresses
    for volume in warm_up.volumes():
        assert await take(tenant, cold.id, 10_000_000) == volume
        await a_day_later(tenant)
    assert await take(tenant, cold.id, 10_000_000) == 10_000_000
    (warm,) = (await tenant(pb.GetIpPoolRequest(ip_pool_id=made.id))).addresses
    assert not warm.HasField("warm_up")


async def test_an_address_that_is_said_to_be_warm_needs_no_warm_up(tenant: Tenant, plan: Plan) -> None:
    made = await dedicated(tenant, plan, address(relay_url=URL, warm=True))
    assert not made.addresses[0].HasField("warm_up")


def test_the_schedule_grows_and_what_is_beyond_it_waits_until_midnight() -> None:
    assert list(warm_up.volumes()) == sorted(warm_up.volumes())
    late = datetime(2026, 11, 30, 23, 59, tzinfo=UTC)
    assert warm_up.until_tomorrow(late) == timedelta(minutes=1)


async def take(tenant: Tenant, address_id: str, wanted: int) -> int:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        return await warm_up.take(session, UUID(address_id), wanted)


async def a_day_later(tenant: Tenant) -> None:
    """Let what was handed over today be of a day before all others."""
    await tenant.rows(
        "UPDATE ip_pool_days SET day = (SELECT min(day) - 1 FROM ip_pool_days) WHERE day = (SELECT max(day) FROM ip_pool_days)"
    )
