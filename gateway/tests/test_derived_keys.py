"""Derived keys at the edge: what they leave of their key, and that they are nothing without it."""

import asyncio
import hmac
import string
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NoReturn

import pytest

from chassis.api_key import ApiKey
from chassis.context import RequestContext
from chassis.derived_key import DerivedKey, derive
from chassis.errors import Unauthenticated
from chassis.identifiers import new_id
from chassis.secret import Secret
from deploy.local.servers.program import free_address
from gateway.access_tokens import AccessTokenVerifier, KeySet
from gateway.credentials import Authenticator
from gateway.tests.house import House

PATH = "/v1/contacts"


def in_(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def forged(text: str, *lines: str) -> str:
    """What the holder of a derived key can add to it without asking whether that widens it."""
    parent = DerivedKey.parse(text)
    signature = parent.signature
    for line in lines:
        signature = hmac.digest(signature, line.encode(), sha256)
    return DerivedKey(parent.key_id, (*parent.restrictions, *lines), signature).text


async def context_of(house: House, credential: str) -> RequestContext:
    answer = await house.call("GET", PATH, credential)
    assert answer.status_code == 200, answer.text
    (asked,) = house.services["ContactService"].of(answer.headers["x-request-id"])
    return asked.context


async def test_a_derived_key_acts_as_its_key_with_the_scopes_that_are_left(house: House) -> None:
    key, grant = house.identity.api_key("contacts:read", "contacts:write", "campaigns:read")
    derived = derive(key, scopes=["contacts:read", "campaigns:read"], expires_at=in_(60))
    context = await context_of(house, derived)
    assert context.scopes == {"contacts:read", "campaigns:read"}
    assert (context.actor_id, str(context.organization_id)) == (grant.actor.id, grant.organization_id)
    refused = await house.call("DELETE", f"{PATH}/{new_id()}", derived)
    assert refused.status_code == 403
    assert refused.json()["type"].endswith("/insufficient-scope")


async def test_what_a_derived_key_lacks_its_key_and_its_siblings_have(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read", "contacts:write")
    reader, writer = derive(key, scopes=["contacts:read"]), derive(key, scopes=["contacts:write"])
    for _ in range(2):
        assert (await context_of(house, reader)).scopes == {"contacts:read"}
        assert (await context_of(house, key)).scopes == {"contacts:read", "contacts:write"}
        assert (await house.call("GET", PATH, writer)).status_code == 403


async def test_a_restriction_that_asks_for_more_gets_nothing_by_it(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read", "contacts:write")
    beyond_its_key = derive(key, scopes=["contacts:read", "campaigns:read"])
    assert (await context_of(house, beyond_its_key)).scopes == {"contacts:read"}
    parent = derive(key, scopes=["contacts:read"], expires_at=in_(-1))
    for lines in (["scopes contacts:read,contacts:write"], ["expires 99999999999"]):
        assert (await house.call("GET", PATH, forged(parent, *lines))).status_code == 401
    parent = derive(key, scopes=["contacts:read"])
    wide = forged(parent, "scopes contacts:read,contacts:write", "expires 99999999999")
    assert (await context_of(house, wide)).scopes == {"contacts:read"}
    assert (await house.call("DELETE", f"{PATH}/{new_id()}", wide)).status_code == 403


async def test_the_second_request_of_a_derived_key_needs_nobody_but_redis(house: House) -> None:
    key, grant = house.identity.api_key("contacts:read")
    derived = derive(key, scopes=["contacts:read"])
    for _ in range(3):
        assert (await house.call("GET", PATH, derived)).status_code == 200
    # What identity has found out about its key is known by then as well.
    assert (await house.call("GET", PATH, key)).status_code == 200
    assert house.identity.resolved.count(f"key:{grant.actor.id}") == 1


async def test_derived_keys_are_refused_by_the_next_request_after_their_key_is_revoked(house: House) -> None:
    key, grant = house.identity.api_key("contacts:read")
    name = f"key:{grant.actor.id}"
    child = derive(key, scopes=["contacts:read"])
    grandchild = derive(child, expires_at=in_(60))
    for credential in (child, grandchild):
        assert (await house.call("GET", PATH, credential)).status_code == 200
    await house.identity.revoke(name)
    for credential in (child, grandchild):
        assert (await house.call("GET", PATH, credential)).status_code == 401
    # A fill that had read the grant before the revocation comes late, and is not taken.
    await house.identity.fill(name, grant, DerivedKey.parse(child))
    assert (await house.call("GET", PATH, child)).status_code == 401


async def test_a_forged_chain_is_refused_however_warm_its_key_is_and_not_counted(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read", "contacts:write", requests_per_minute=60)
    genuine = derive(key, scopes=["contacts:read"], expires_at=in_(60))
    assert (await house.call("GET", PATH, genuine)).status_code == 200
    chain = DerivedKey.parse(genuine)
    stranger = ApiKey.mint(chain.key_id)
    for forgery in (
        derive(stranger, scopes=["contacts:read"]),
        DerivedKey(chain.key_id, chain.restrictions[:1], chain.signature).text,
        DerivedKey(chain.key_id, ("scopes contacts:write",), chain.signature).text,
        DerivedKey(new_id(), chain.restrictions, chain.signature).text,
    ):
        for _ in range(2):
            refused = await house.call("GET", PATH, forgery)
            assert refused.status_code == 401
            assert "ratelimit" not in refused.headers
    assert (await house.call("GET", PATH, genuine)).headers["ratelimit"].startswith('"default";r=58')


async def test_an_expired_derived_key_is_refused_without_a_look_up_and_not_counted(house: House) -> None:
    key, grant = house.identity.api_key("contacts:read", requests_per_minute=60)
    refused = await house.call("GET", PATH, derive(key, expires_at=in_(-1)))
    assert refused.status_code == 401
    assert f"key:{grant.actor.id}" not in house.identity.resolved
    assert (await house.call("GET", PATH, key)).headers["ratelimit"].startswith('"default";r=59')


async def test_a_derived_key_that_was_good_is_refused_from_the_second_it_expires() -> None:
    now = 1_800_000_000.0
    authenticator = Authenticator(_no_tokens(), clock=lambda: now)
    derived = derive(ApiKey.mint(new_id()), expires_at=datetime.fromtimestamp(now + 60, UTC))
    for later in (0.0, 59.9):
        now = 1_800_000_000.0 + later
        assert await authenticator.authenticate(f"Bearer {derived}")
    now = 1_800_000_060.0
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(f"Bearer {derived}")


def _no_tokens() -> AccessTokenVerifier:
    async def nothing() -> NoReturn:
        raise AssertionError("no token was shown")

    return AccessTokenVerifier(KeySet(nothing), issuer="", audience="")


async def test_a_derived_key_outlives_its_key_by_nothing(house: House) -> None:
    key, grant = house.identity.api_key("contacts:read")
    grant.expires_at.FromSeconds(int(time.time()) - 1)
    assert (await house.call("GET", PATH, derive(key, expires_at=in_(60)))).status_code == 401


async def test_derived_keys_count_against_the_limit_of_their_key(house: House) -> None:
    key, _ = house.identity.api_key("contacts:read", requests_per_minute=3)
    credentials = [key, *(derive(key, expires_at=in_(60 + number)) for number in range(4))]
    answers = await asyncio.gather(*(house.call("GET", PATH, credential) for credential in credentials))
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 2


async def test_every_change_of_one_character_of_a_derived_key_is_refused_without_a_look_up(
    house: House,
) -> None:
    key, _ = house.identity.api_key("contacts:read")
    derived = derive(key, scopes=["contacts:read"])
    assert (await house.call("GET", PATH, derived)).status_code == 200
    looked_up = len(house.identity.resolved)
    changed = [
        derived[:position] + ("x" if character != "x" else "y") + derived[position + 1 :]
        for position, character in enumerate(derived)
    ]
    changed += [
        derived[:-1] + other for other in string.ascii_letters + string.digits if other != derived[-1]
    ]
    answers = await asyncio.gather(*(house.call("GET", PATH, each) for each in changed))
    assert {answer.status_code for answer in answers} == {401}
    assert len(house.identity.resolved) == looked_up


async def test_without_redis_identity_checks_the_chain_each_time(house: House) -> None:
    key, grant = house.identity.api_key("contacts:read", "contacts:write")
    derived = derive(key, scopes=["contacts:read"])
    async with house.beside(redis_url=Secret(f"redis://{free_address()}")) as other:
        for _ in range(2):
            assert (await other.call("GET", PATH, derived)).status_code == 200
            assert (await other.call("DELETE", f"{PATH}/{new_id()}", derived)).status_code == 403
        assert house.identity.resolved.count(f"key:{grant.actor.id}") == 4
        await house.identity.revoke(f"key:{grant.actor.id}")
        assert (await other.call("GET", PATH, derived)).status_code == 401
