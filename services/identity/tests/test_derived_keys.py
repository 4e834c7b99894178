"""Derived keys: genuine by their chain, live as long as their key, forgotten with it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, insert, select, update

from chassis.api_key import ApiKey
from chassis.database import Database, RoleDatabase
from chassis.derived_key import DerivedKey, chain_key, derive
from chassis.errors import Unauthenticated
from chassis.identifiers import new_id
from chassis.vault.rotation import Rotation
from chassis.vault.settings import former_sealer, wrapping_of
from chassis.vault.vault import Vault
from chassis.vault.wrapping import DoesNotOpen
from flownurture.identity.v1 import admission_pb2
from services.identity.api_keys import SEALED_COLUMNS, opened_chain_key
from services.identity.settings import IdentitySettings
from services.identity.tables import api_keys
from services.identity.tests.edge import Edge
from services.identity.tests.keys import create, credential, page, resolve, revoke


def ago(minutes: int) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


async def remembered(redis: Redis, key_id: str) -> int:
    """How many derived keys of a key the cache knows to be genuine."""
    fields: list[bytes] = await redis.hkeys(f"grant:key:{key_id}")  # type: ignore[assignment]  # nothing decodes here
    return sum(field.startswith(b"derived:") for field in fields)


async def test_a_derived_key_resolves_to_what_its_key_may_do(edge: Edge) -> None:
    person = await edge.sign_up()
    made = await create(edge, person, scopes=["contacts:read", "contacts:write"])
    derived = derive(made.secret, scopes=["contacts:read"], expires_at=ago(-5))
    # The gateway narrows it by the restrictions, which the chain has just shown to be genuine.
    assert await resolve(edge, derived) == await resolve(edge, made.secret)


async def test_a_derived_key_is_cached_in_the_grant_of_its_key_and_goes_with_it(
    edge: Edge, redis: Redis
) -> None:
    person = await edge.sign_up()
    made = await create(edge, person)
    one, other = (derive(made.secret, expires_at=ago(-minutes)) for minutes in (5, 6))
    grant = f"grant:key:{made.api_key.id}"
    await resolve(edge, one)
    assert await redis.hexists(grant, b"derived:" + DerivedKey.parse(one).digest)
    assert await redis.hget(grant, "secret") == ApiKey.parse(made.secret).secret_digest
    await resolve(edge, other)
    assert await remembered(redis, made.api_key.id) == 2
    await revoke(edge, person, made.api_key.id)
    assert not await redis.exists(grant)
    for text in (one, other, made.secret):
        with pytest.raises(Unauthenticated):
            await resolve(edge, text)
    assert not await redis.exists(grant)


async def test_no_derived_key_is_looked_up_after_the_revocation_of_its_key_answered_however_many_race(
    edge: Edge, redis: Redis
) -> None:
    for _ in range(5):
        person = await edge.sign_up()
        made = await create(edge, person)
        revoked = asyncio.Event()

        async def keep_asking(text: str, revoked: asyncio.Event) -> int:
            passed_after = 0
            for _ in range(8):
                after = revoked.is_set()
                try:
                    await resolve(edge, text)
                except Unauthenticated:
                    break
                passed_after += after
            return passed_after

        texts = [derive(made.secret, expires_at=ago(-minutes)) for minutes in range(1, 7)]
        racers = [asyncio.create_task(keep_asking(text, revoked)) for text in texts]
        await revoke(edge, person, made.api_key.id)
        revoked.set()
        assert await asyncio.gather(*racers) == [0] * len(racers)
        assert not await redis.exists(f"grant:key:{made.api_key.id}")


async def test_a_chain_that_is_not_signed_from_the_keys_secret_is_refused_and_not_remembered(
    edge: Edge, redis: Redis
) -> None:
    person = await edge.sign_up()
    made = await create(edge, person, scopes=["contacts:read", "contacts:write"])
    genuine = credential(derive(derive(made.secret, scopes=["contacts:read"]), expires_at=ago(-5)))
    stranger = credential(derive(ApiKey.mint(ApiKey.parse(made.secret).key_id), scopes=["contacts:read"]))
    shown: dict[str, dict[str, Any]] = {
        "a link less": {"restrictions": genuine.restrictions[:1]},
        "no link": {"restrictions": []},
        "a link more": {"restrictions": [*genuine.restrictions, "scopes contacts:write"]},
        "another scope": {"restrictions": ["scopes contacts:write", genuine.restrictions[1]]},
        "a later expiry": {"restrictions": [genuine.restrictions[0], "expires 99999999999"]},
        "another order": {"restrictions": genuine.restrictions[::-1]},
        "no restriction that is known": {"restrictions": ["everything"]},
        "another secret's": {"restrictions": stranger.restrictions, "signature": stranger.signature},
        "no signature": {"signature": b""},
        "another key's": {"api_key_id": (await create(edge, person)).api_key.id},
        "no key's": {"api_key_id": str(uuid4())},
    }
    for changes in shown.values():
        parts: dict[str, Any] = {
            "api_key_id": genuine.api_key_id,
            "restrictions": genuine.restrictions,
            "signature": genuine.signature,
        }
        forged = admission_pb2.ApiKeyCredential(**parts | changes)
        with pytest.raises(Unauthenticated):
            await edge.call(
                edge.admission.ResolveCredential, admission_pb2.ResolveCredentialRequest(api_key=forged)
            )
    assert await remembered(redis, made.api_key.id) == 0


async def test_an_expired_derived_key_is_refused_and_its_key_is_not(edge: Edge) -> None:
    made = await create(edge, await edge.sign_up())
    with pytest.raises(Unauthenticated):
        await resolve(edge, derive(made.secret, expires_at=ago(0)))
    assert await resolve(edge, made.secret)


async def test_the_cache_remembers_a_bounded_number_of_derived_keys_of_one_key(
    edge: Edge, redis: Redis
) -> None:
    made = await create(edge, await edge.sign_up())
    grant = f"grant:key:{made.api_key.id}"
    await resolve(edge, made.secret)
    await redis.hset(grant, mapping={b"derived:" + new_id().bytes: b"" for _ in range(253)})
    assert await redis.hlen(grant) == 256
    derived = derive(made.secret, expires_at=ago(-5))
    await resolve(edge, derived)
    assert await remembered(redis, made.api_key.id) == 1
    assert await redis.hget(grant, "secret") == ApiKey.parse(made.secret).secret_digest


async def test_the_use_of_a_derived_key_is_one_of_its_key(edge: Edge) -> None:
    person = await edge.sign_up()
    made = await create(edge, person)
    assert not made.api_key.HasField("last_used_at")
    await resolve(edge, derive(made.secret, scopes=["contacts:read"]))
    (listed,) = (await page(edge, person)).api_keys
    assert listed.HasField("last_used_at")


async def test_what_chains_are_checked_with_is_stored_sealed_to_its_row(
    edge: Edge, database: Database, settings: IdentitySettings
) -> None:
    person = await edge.sign_up()
    made = await create(edge, person)
    async with database.tenant_transaction(person.context) as session:
        row = (await session.execute(select(api_keys))).one()
        keyring = await Vault("identity", wrapping_of(settings)).keyring(session)
    assert chain_key(made.secret) not in row.sealed_chain_key
    assert opened_chain_key(row.id, row.sealed_chain_key, keyring).reveal() == chain_key(made.secret)
    with pytest.raises(DoesNotOpen):
        opened_chain_key(uuid4(), row.sealed_chain_key, keyring)


async def test_what_chains_of_before_are_checked_with_is_read_and_sealed_again(
    edge: Edge, database: Database, settings: IdentitySettings
) -> None:
    person = await edge.sign_up()
    made = await create(edge, person)
    place: dict[str, Any] = {"table": "api_keys", "column": "sealed_chain_key"}
    former, key_id = former_sealer("identity", settings), UUID(made.api_key.id)
    assert former is not None
    as_before = former.seal(chain_key(made.secret), row=key_id, **place)
    async with database.tenant_transaction(person.context) as session:
        await session.execute(
            update(api_keys).where(api_keys.c.id == key_id).values(sealed_chain_key=as_before)
        )
    derived = derive(made.secret, scopes=["contacts:read"])
    assert list((await resolve(edge, derived)).scopes) == ["contacts:read"]

    wrapping = wrapping_of(settings)
    remembering_nothing = Vault("identity", wrapping, former=former, known_organizations=0)
    async with RoleDatabase(settings.database_scheduler_url) as scheduler:
        rotation = Rotation(
            database,
            scheduler,
            remembering_nothing,
            SEALED_COLUMNS,
            tell=lambda _: None,
            pause=asyncio.sleep,
        )
        await rotation.run(ago(60))
    async with database.tenant_transaction(person.context) as session:
        row = (await session.execute(select(api_keys))).one()
        keyring = await Vault("identity", wrapping).keyring(session)
    assert opened_chain_key(key_id, row.sealed_chain_key, keyring).reveal() == chain_key(made.secret)
    assert list((await resolve(edge, derived)).scopes) == ["contacts:read"]


async def test_what_chains_are_checked_with_is_neither_in_redis_nor_told_to_a_gateway(
    edge: Edge, redis: Redis
) -> None:
    made = await create(edge, await edge.sign_up())
    derived = derive(made.secret, scopes=["contacts:read"])
    grant = await resolve(edge, derived)
    cached: dict[bytes, bytes] = await redis.hgetall(f"grant:key:{made.api_key.id}")  # type: ignore[assignment]
    known = b"".join((*cached.keys(), *cached.values()))
    for secret in (chain_key(made.secret), DerivedKey.parse(derived).signature):
        assert secret not in known
        assert secret not in grant.SerializeToString()


async def test_nothing_can_be_derived_from_a_key_that_is_older_than_derived_keys(
    edge: Edge, database: Database
) -> None:
    person = await edge.sign_up()
    old = ApiKey.mint(new_id())
    async with database.tenant_transaction(person.context) as session:
        key = ApiKey.parse(old)
        await session.execute(
            insert(api_keys).values(
                id=UUID(str(key.key_id)),
                name="old",
                prefix=old[:20],
                secret_digest=key.secret_digest,
                scopes=["contacts:read"],
                created_at=func.now(),
            )
        )
    assert await resolve(edge, old)
    with pytest.raises(Unauthenticated):
        await resolve(edge, derive(old, scopes=["contacts:read"]))
