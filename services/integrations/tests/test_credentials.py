"""Access to a connected account: renewed ahead of its end, by one process at a time, and by nobody once it is disconnected."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from starlette.responses import JSONResponse

from chassis.secret import Secret
from chassis.tests.deadlines import until
from chassis.vault.wrapping import DoesNotOpen
from flownurture.integrations.v1 import connections_pb2 as pb
from flownurture.integrations.v1.events_pb2 import ConnectionNeedsAuthorization
from services.integrations import grants
from services.integrations.credentials import Access, Credentials, Disconnected, NeedsAuthorization
from services.integrations.crm.errors import Broken
from services.integrations.revocations import GIVEN_UP_AFTER
from services.integrations.tests.house import House, Tenant
from services.integrations.tests.local_crm import KEY
from services.integrations.tests.test_connecting import by_key

PROCESSES = 6


@pytest.fixture
def tenant(integrations: House) -> Tenant:
    return integrations.tenant()


async def ends_in(tenant: Tenant, seconds: int) -> None:
    await tenant.execute(
        "UPDATE credentials SET expires_at = now() + make_interval(secs => :seconds)", seconds=seconds
    )


async def each_process(tenant: Tenant, connection: pb.Connection) -> list[Access]:
    """The access that each of several processes has, which know nothing of each other."""
    house = tenant.house
    return [
        await tenant.access(connection.id, Credentials(house.database, house.vault, house.offers))
        for _ in range(PROCESSES)
    ]


async def test_a_token_that_is_good_for_a_while_is_used_as_it_is(tenant: Tenant) -> None:
    connection = await tenant.connect("salesforce")
    crm = tenant.house.crms["salesforce"]
    token = await (await tenant.access(connection.id)).token()
    assert {token.reveal()} == crm.grants.access_tokens
    assert len(crm.grants.urls) == 1


@pytest.mark.parametrize("seconds", [60, -60])
async def test_a_token_near_its_end_or_behind_it_is_renewed_before_it_is_used(
    tenant: Tenant, seconds: int
) -> None:
    connection = await tenant.connect("salesforce")
    access = await tenant.access(connection.id)
    before = await access.token()
    await ends_in(tenant, seconds)
    after = await access.token()
    assert after != before
    assert after == await access.token()


@pytest.mark.parametrize("provider", ["hubspot", "salesforce", "pipedrive"])
async def test_of_processes_that_need_a_token_at_once_one_renews_it(tenant: Tenant, provider: str) -> None:
    connection = await tenant.connect(provider)
    crm = tenant.house.crms[provider]
    for _ in range(5):
        await ends_in(tenant, -1)
        asked = len(crm.grants.urls)
        tokens = await asyncio.gather(*(each.token() for each in await each_process(tenant, connection)))
        assert len(set(tokens)) == 1
        assert tokens[0].reveal() in crm.grants.access_tokens
        assert len(crm.grants.urls) == asked + 1
    assert (await tenant.connection(connection.id)).status == pb.CONNECTION_STATUS_ACTIVE


async def test_a_refused_token_is_renewed_by_one_though_all_were_refused(tenant: Tenant) -> None:
    """As after a CRM has ended a token in the middle of a page."""
    connection = await tenant.connect("salesforce")
    crm = tenant.house.crms["salesforce"]
    processes = await each_process(tenant, connection)
    stale = await processes[0].token()
    crm.grants.expire()
    asked = len(crm.grants.urls)
    tokens = await asyncio.gather(*(each.renewed(stale) for each in processes))
    assert len(set(tokens)) == 1
    assert stale not in tokens
    assert len(crm.grants.urls) == asked + 1


async def test_ahead_of_its_end_nobody_waits_for_who_renews(tenant: Tenant) -> None:
    connection = await tenant.connect("salesforce")
    access = await tenant.access(connection.id)
    present = await access.token()
    await ends_in(tenant, 60)
    await tenant.execute("UPDATE credentials SET refreshing_until = now() + interval '1 hour'")
    assert await access.token() == present


async def test_who_dies_while_renewing_leaves_it_to_others(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    access = await tenant.access(connection.id)
    stale = await access.token()
    await tenant.execute("UPDATE credentials SET refreshing_until = now() + interval '1 second'")
    assert await access.renewed(stale) != stale


async def test_a_crm_that_is_away_costs_nothing_while_the_token_is_good(tenant: Tenant) -> None:
    connection = await tenant.connect("salesforce")
    crm, access = tenant.house.crms["salesforce"], await tenant.access(connection.id)
    present = await access.token()
    await ends_in(tenant, 60)
    crm.grants.failures = [JSONResponse({}, 503), JSONResponse({}, 503)]
    assert await access.token() == present
    with pytest.raises(Broken):
        await access.renewed(present)
    # And the next one may renew it at once.
    assert await access.renewed(present) != present


async def test_who_goes_away_while_a_crm_answers_does_not_lose_the_answer(tenant: Tenant) -> None:
    """The refresh token before is spent then, and the connection would be lost with the new one."""
    connection = await tenant.connect("salesforce")
    grants_there, access = tenant.house.crms["salesforce"].grants, await tenant.access(connection.id)
    stale = await access.token()
    grants_there.hold()
    renewing = asyncio.create_task(access.renewed(stale))
    await until(lambda: grants_there.waiting > 0)
    renewing.cancel()
    grants_there.go_on()
    present = await (await tenant.access(connection.id)).renewed(stale)
    assert present.reveal() in grants_there.access_tokens
    assert len(grants_there.urls) == 2


async def test_a_grant_that_is_gone_at_the_crm_is_noted_once_and_told(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    crm = tenant.house.crms["hubspot"]
    processes = await each_process(tenant, connection)
    stale = await processes[0].token()
    crm.grants.refresh_tokens.clear()
    refused = await asyncio.gather(*(each.renewed(stale) for each in processes), return_exceptions=True)
    assert {type(each) for each in refused} == {NeedsAuthorization}
    shown = await tenant.connection(connection.id)
    assert shown.status == pb.CONNECTION_STATUS_NEEDS_AUTHORIZATION
    assert shown.last_error == "The CRM refused the credentials."
    (told,) = await tenant.published(ConnectionNeedsAuthorization)
    assert (told.provider_title, told.account_name) == ("HubSpot", connection.account_name)
    asked = len(crm.grants.urls)
    with pytest.raises(NeedsAuthorization):
        await processes[0].token()
    assert len(crm.grants.urls) == asked
    await tenant.connect("hubspot")
    assert (await processes[0].token()).reveal() in crm.grants.access_tokens


async def test_a_key_that_the_crm_refuses_is_renewed_by_nobody(tenant: Tenant) -> None:
    connection = await tenant(by_key())
    access = await tenant.access(connection.id)
    with pytest.raises(NeedsAuthorization):
        await access.renewed(Secret(KEY))
    assert (await tenant.connection(connection.id)).status == pb.CONNECTION_STATUS_NEEDS_AUTHORIZATION


async def test_whoever_is_at_work_gets_no_token_once_it_is_disconnected(tenant: Tenant) -> None:
    connection = await tenant.connect("salesforce")
    access = await tenant.access(connection.id)
    token = await access.token()
    await tenant.disconnect(connection.id)
    for asked in (access.token(), access.renewed(token)):
        with pytest.raises(Disconnected):
            await asked
    assert await tenant.rows("SELECT FROM credentials") == []


@pytest.mark.parametrize("provider", ["hubspot", "salesforce", "pipedrive"])
async def test_what_is_disconnected_is_revoked_at_the_crm(tenant: Tenant, provider: str) -> None:
    connection = await tenant.connect(provider)
    crm = tenant.house.crms[provider]
    (refresh_token,) = crm.grants.refresh_tokens
    await tenant.disconnect(connection.id)
    await tenant.revoke_what_is_due()
    assert crm.grants.revoked == [refresh_token]
    assert await tenant.rows("SELECT FROM revocations") == []


async def test_a_revocation_waits_for_a_crm_that_is_away(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    crm = tenant.house.crms["hubspot"]
    crm.grants.failures_of_revoking = [JSONResponse({}, 503), JSONResponse({}, 429)]
    await tenant.disconnect(connection.id)
    pauses = []
    for _ in range(2):
        await tenant.revoke_what_is_due()
        (row,) = await tenant.rows("SELECT attempts, due_at - now() AS pause FROM revocations")
        pauses.append(row.pause.total_seconds())
        await tenant.execute("UPDATE revocations SET due_at = now()")
    assert pauses[1] > 1.5 * pauses[0] > 30
    await tenant.revoke_what_is_due()
    assert len(crm.grants.revoked) == 1
    assert await tenant.rows("SELECT FROM revocations") == []


async def test_a_revocation_that_never_succeeds_is_given_up(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    tenant.house.crms["hubspot"].grants.failures_of_revoking = [JSONResponse({}, 503)]
    await tenant.disconnect(connection.id)
    await tenant.execute(
        "UPDATE revocations SET created_at = now() - CAST(:age AS interval)", age=GIVEN_UP_AFTER
    )
    await tenant.revoke_what_is_due()
    assert await tenant.rows("SELECT FROM revocations") == []


async def test_what_a_crm_gives_to_who_was_disconnected_meanwhile_is_revoked_too(tenant: Tenant) -> None:
    connection = await tenant.connect("salesforce")
    crm, access = tenant.house.crms["salesforce"], await tenant.access(connection.id)
    stale = await access.token()
    crm.grants.hold()
    renewing = asyncio.create_task(access.renewed(stale))
    await until(lambda: crm.grants.waiting > 0)
    # It does not wait for the CRM's answer.
    async with asyncio.timeout(2):
        await tenant.disconnect(connection.id)
    crm.grants.go_on()
    with pytest.raises(Disconnected):
        await renewing
    await tenant.revoke_what_is_due()
    assert crm.grants.refresh_tokens == set()


async def test_two_who_disconnect_at_once_do_so_once(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    outcomes = await asyncio.gather(
        *(tenant.disconnect(connection.id) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["NoneType", *["NotFound"] * 3]
    assert len(await tenant.rows("SELECT FROM revocations")) == 1


async def test_what_is_sealed_opens_in_its_own_column_row_and_organization_alone(
    tenant: Tenant, integrations: House
) -> None:
    stranger = integrations.tenant()
    mine, theirs = [UUID((await each.connect("salesforce")).id) for each in (tenant, stranger)]
    other = UUID((await tenant.connect("hubspot")).id)

    async def held(who: Tenant, connection_id: UUID) -> Any:
        async with integrations.database.tenant_transaction(who.context) as session:
            return await grants.held(session, await integrations.vault.keyring(session), connection_id)

    async def row(who: Tenant, connection_id: UUID) -> Any:
        (found,) = await who.rows("SELECT * FROM credentials WHERE connection_id = :id", id=connection_id)
        return found

    own = await row(tenant, mine)
    put = "UPDATE credentials SET sealed_token = :sealed WHERE connection_id = :id"
    for moved in (
        (await row(tenant, other)).sealed_token,
        (await row(stranger, theirs)).sealed_token,
        own.sealed_refresh_token,
    ):
        await tenant.execute(put, sealed=moved, id=mine)
        with pytest.raises(DoesNotOpen):
            await held(tenant, mine)
    await tenant.execute(put, sealed=own.sealed_token, id=mine)
    assert (await held(tenant, mine)).token


async def test_what_no_longer_opens_can_still_be_disconnected(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    await tenant.execute("UPDATE credentials SET sealed_token = '\\x00'::bytea")
    await tenant.disconnect(connection.id)
    assert await tenant.connections() == []
    assert await tenant.rows("SELECT FROM revocations") == []


async def test_a_process_looks_for_what_is_to_be_revoked(tenant: Tenant) -> None:
    connection = await tenant.connect("hubspot")
    crm = tenant.house.crms["hubspot"]
    await tenant.disconnect(connection.id)
    running = asyncio.create_task(tenant.house.revoker.run())
    try:
        await until(lambda: len(crm.grants.revoked) == 1)
    finally:
        running.cancel()
