"""A CRM that signs what it posts has its accounts synced soon; whoever cannot sign, or no more, has nothing done."""

import hmac
import json
from base64 import b64encode
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import uuid4

import pytest
from google.api.httpbody_pb2 import HttpBody

from chassis.errors import NotFound, Unauthenticated
from chassis.secret import Secret
from flownurture.integrations.v1 import connections_pb2
from flownurture.integrations.v1.crm_posts_pb2 import TakeCrmPostRequest
from services.integrations.api.crm_posts import CrmPostApi
from services.integrations.crm.oauth import App
from services.integrations.crm.tests.servers.grants import CLIENT_SECRET
from services.integrations.nudges import Nudges
from services.integrations.settings import IntegrationsSettings
from services.integrations.sync import positions
from services.integrations.tests.house import ANYBODY, House, Tenant

HUBSPOT = connections_pb2.PROVIDER_HUBSPOT


@pytest.fixture
def portal() -> int:
    """An account that only this test has."""
    return uuid4().int % 10**9


class HubSpot:
    """What posts as HubSpot does."""

    def __init__(self, url: str) -> None:
        self._url = url

    def post(self, body: bytes, *, at: datetime, secret: str = CLIENT_SECRET) -> TakeCrmPostRequest:
        timestamp = str(int(at.timestamp() * 1000))
        content = b"POST" + self._url.encode() + body + timestamp.encode()
        return TakeCrmPostRequest(
            provider=HUBSPOT,
            body=HttpBody(content_type="application/json", data=body),
            hubspot_signature=b64encode(hmac.new(secret.encode(), content, sha256).digest()).decode(),
            hubspot_timestamp=timestamp,
        )

    def about(self, *portals: int) -> TakeCrmPostRequest:
        return self.post(events(portals), at=datetime.now(UTC))


def events(portals: Collection[int]) -> bytes:
    """As HubSpot tells of a property that changed."""
    told = {"subscriptionType": "contact.propertyChange", "objectId": 1, "propertyName": "email"}
    return json.dumps([told | {"portalId": portal} for portal in portals]).encode()


@pytest.fixture
def hubspot(settings: IntegrationsSettings) -> HubSpot:
    return HubSpot(f"{settings.public_url.rstrip('/')}/v1/integrations/hubspot/webhook")


async def synced_in(tenant: Tenant) -> float:
    """In how many seconds its connection is synced."""
    (row,) = await tenant.rows(
        "SELECT extract(epoch FROM due_at - now())::float AS seconds FROM sync_positions"
    )
    seconds: float = row.seconds
    return seconds


async def connected(house: House, portal: int) -> Tenant:
    """Who has connected the account, and is synced in an hour."""
    tenant = house.tenant()
    connection = await tenant.connect("hubspot")
    await tenant.execute("UPDATE connections SET account_id = :portal", portal=str(portal))
    await tenant.execute("DELETE FROM sync_positions")
    await tenant.execute(
        "INSERT INTO sync_positions (connection_id, told_all_contacts, due_at)"
        " VALUES (CAST(:id AS uuid), true, now() + interval '1 hour')",
        id=connection.id,
    )
    return tenant


async def come(tenant: Tenant, post: TakeCrmPostRequest, times: int = 1) -> None:
    for _ in range(times):
        await tenant(post, ANYBODY)
    await tenant.house.nudges.round()


async def test_whoever_has_connected_an_account_that_changed_is_synced_soon_and_nobody_else(
    integrations: House, hubspot: HubSpot, portal: int
) -> None:
    one, another = [await connected(integrations, portal) for _ in range(2)]
    stranger = await connected(integrations, portal + 1)
    await come(one, hubspot.about(portal, portal + 2), times=3)
    soon = positions.NUDGED_AFTER.total_seconds()
    assert max(await synced_in(one), await synced_in(another)) <= soon
    assert await synced_in(stranger) > soon


async def test_more_posts_have_nobody_synced_more_often(
    integrations: House, hubspot: HubSpot, portal: int
) -> None:
    tenant = await connected(integrations, portal)
    await come(tenant, hubspot.about(portal))
    (before,) = await tenant.rows("SELECT due_at FROM sync_positions")
    await come(tenant, hubspot.about(portal), times=20)
    assert await tenant.rows("SELECT due_at FROM sync_positions") == [before]
    # As while a sync is under way.
    await tenant.execute("UPDATE sync_positions SET due_at = 'infinity'")
    await come(tenant, hubspot.about(portal))
    assert await synced_in(tenant) > 0


@pytest.mark.parametrize(
    "wrong", ["status = 'needs_authorization'", "last_error = 'The CRM is away.'"], ids=["refused", "failing"]
)
async def test_what_something_is_wrong_about_waits_for_its_time(
    integrations: House, hubspot: HubSpot, portal: int, wrong: str
) -> None:
    tenant = await connected(integrations, portal)
    await tenant.execute(f"UPDATE connections SET {wrong}")
    await come(tenant, hubspot.about(portal))
    assert await synced_in(tenant) > positions.NUDGED_AFTER.total_seconds()


async def test_a_post_that_is_not_signed_or_not_just_now_has_nothing_done(
    integrations: House, hubspot: HubSpot, portal: int
) -> None:
    tenant, now, body = await connected(integrations, portal), datetime.now(UTC), events([portal])
    good = hubspot.about(portal)
    changes = [
        {"hubspot_signature": ""},
        {"hubspot_signature": "A" + good.hubspot_signature[1:-1] + "A"},
        {"hubspot_timestamp": str(int(good.hubspot_timestamp) + 1)},
        {"hubspot_timestamp": ""},
        {"body": HttpBody(data=body + b" ")},
        {"body": HttpBody(data=events([portal + 1, portal]))},
    ]
    forged = [_changed(good, change) for change in changes] + [
        hubspot.post(body, at=now, secret="another"),
        hubspot.post(body, at=now - timedelta(minutes=6)),
        hubspot.post(body, at=now + timedelta(minutes=6)),
        HubSpot("https://elsewhere.test/v1/integrations/hubspot/webhook").post(body, at=now),
    ]
    for post in forged:
        with pytest.raises(Unauthenticated):
            await come(tenant, post)
    await integrations.nudges.round()
    assert await synced_in(tenant) > positions.NUDGED_AFTER.total_seconds()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"portalId": 1}', b"[1, null]", b'[{"portalId": "1"}, {"portalId": null}, {}]'],
    ids=["empty", "no_json", "no_list", "no_events", "no_portals"],
)
async def test_what_is_signed_but_names_no_account_is_taken_for_nothing(
    integrations: House, hubspot: HubSpot, body: bytes
) -> None:
    await come(integrations.tenant(), hubspot.post(body, at=datetime.now(UTC)))


@pytest.mark.parametrize("provider", ["PIPEDRIVE", "SALESFORCE"])
async def test_a_crm_that_signs_nothing_posts_to_nobody(
    integrations: House, hubspot: HubSpot, portal: int, provider: str
) -> None:
    post = hubspot.about(portal)
    post.provider = connections_pb2.Provider.Value(f"PROVIDER_{provider}")
    with pytest.raises(NotFound):
        await come(integrations.tenant(), post)


async def test_without_an_app_there_is_nothing_that_could_sign(
    integrations: House, hubspot: HubSpot, portal: int, settings: IntegrationsSettings
) -> None:
    nudges = Nudges(integrations.database, None)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await CrmPostApi({}, settings.public_url, nudges).take_crm_post(hubspot.about(portal), ANYBODY)
    other = CrmPostApi({"hubspot": App("id", Secret("another"))}, settings.public_url, nudges)
    with pytest.raises(Unauthenticated):
        await other.take_crm_post(hubspot.about(portal), ANYBODY)


def _changed(post: TakeCrmPostRequest, change: dict[str, object]) -> TakeCrmPostRequest:
    other = TakeCrmPostRequest()
    other.CopyFrom(post)
    for name in change:
        other.ClearField(name)  # type: ignore[arg-type]
    other.MergeFrom(TakeCrmPostRequest(**change))  # type: ignore[arg-type]
    return other
