"""IP pools: the addresses that an organization has to itself.

A pool is a row of its organization's own, so nobody else's mail can find it; and an organization that has one finds no other. The
shared pool and the one of the platform's own mail are no rows: the environment says them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import ip_address
from uuid import UUID

from sqlalchemy import Select, delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from chassis.database import TenantSession
from chassis.errors import Conflict, FieldViolation, InvalidRequest, NotFound
from chassis.identifiers import new_id
from chassis.secret import Secret
from chassis.vault.vault import Vault
from services.sending.relay_address import RelayAddress
from services.sending.tables import ip_pool_addresses, ip_pools
from services.sending.warm_up import Standing, standings

MOST_ADDRESSES = 16

# So that two operators never add one too many, or take the last two.
_HOLD = text("SELECT FROM ip_pools WHERE id = :ip_pool_id FOR UPDATE")


@dataclass(frozen=True, slots=True)
class NewAddress:
    """A way out that is not warm unless it is said to be: a relay, an address of ours, or both."""

    relay_url: Secret | None
    relay: str
    source: str
    warm: bool

    @classmethod
    def of(cls, relay_url: str, source: str, *, warm: bool, field: str) -> "NewAddress":
        """Read what an operator wrote into a field. Raises InvalidRequest, which names the field below it."""
        if not relay_url and not source:
            raise InvalidRequest(FieldViolation(field, "needs a relay_url, a source_address or both"))
        try:
            relay = RelayAddress.of(Secret(relay_url)).place if relay_url else ""
        except ValueError as error:
            raise InvalidRequest(FieldViolation(f"{field}.relay_url", str(error))) from None
        return cls(Secret(relay_url) if relay_url else None, relay, _source(source, field), warm)


@dataclass(frozen=True, slots=True)
class Address:
    """A way out, less the relay's password; `warm_up` is None once it is warm."""

    id: UUID
    source_address: str
    relay: str
    created_at: datetime
    warm_up: Standing | None = None


@dataclass(frozen=True, slots=True)
class IpPool:
    """The pool of an organization."""

    id: UUID
    name: str
    created_at: datetime
    addresses: Sequence[Address] = field(default=())


async def create_ip_pool(
    session: TenantSession, name: str, addresses: Sequence[NewAddress], vault: Vault
) -> IpPool:
    """Make the organization's pool. Raises Conflict when it has one."""
    made = await session.scalar(
        upsert(ip_pools).values(id=new_id(), name=name).on_conflict_do_nothing().returning(ip_pools.c.id)
    )
    if made is None:
        raise Conflict("The organization has a pool already.")
    for address in addresses:
        await _insert(session, made, address, vault)
    return await get_ip_pool(session, made)


async def add_address(session: TenantSession, ip_pool_id: UUID, address: NewAddress, vault: Vault) -> IpPool:
    """Add a way out to a pool. Raises NotFound, Conflict when there are as many as there may be."""
    pool = await _held(session, ip_pool_id)
    if len(pool.addresses) >= MOST_ADDRESSES:
        raise Conflict(f"A pool has at most {MOST_ADDRESSES} addresses.")
    await _insert(session, ip_pool_id, address, vault)
    return await get_ip_pool(session, ip_pool_id)


async def remove_address(session: TenantSession, ip_pool_id: UUID, address_id: UUID) -> IpPool:
    """Take a way out of a pool. Raises NotFound, Conflict when it is the last one."""
    pool = await _held(session, ip_pool_id)
    if address_id not in [address.id for address in pool.addresses]:
        raise NotFound(f"address as {address_id}")
    if len(pool.addresses) == 1:
        raise Conflict("It is the pool's last address; delete the pool instead.")
    await session.execute(delete(ip_pool_addresses).where(ip_pool_addresses.c.id == address_id))
    return await get_ip_pool(session, ip_pool_id)


async def delete_ip_pool(session: TenantSession, ip_pool_id: UUID) -> None:
    """Delete it with its addresses. Raises NotFound."""
    deleted = delete(ip_pools).where(ip_pools.c.id == ip_pool_id).returning(ip_pools.c.id)
    if await session.scalar(deleted) is None:
        raise _unknown(ip_pool_id)


async def get_ip_pool(session: TenantSession, ip_pool_id: UUID) -> IpPool:
    """The pool. Raises NotFound."""
    row = (await session.execute(_pools().where(ip_pools.c.id == ip_pool_id))).mappings().one_or_none()
    if row is None:
        raise _unknown(ip_pool_id)
    return replace(IpPool(**row), addresses=await _addresses(session, ip_pool_id))


async def page_ip_pools(session: TenantSession, *, before: UUID | None, size: int) -> list[IpPool]:
    """Up to `size` pools, newest first, that are older than `before`."""
    wanted = _pools().order_by(ip_pools.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(ip_pools.c.id < before)
    found = [IpPool(**row) for row in (await session.execute(wanted)).mappings()]
    return [replace(pool, addresses=await _addresses(session, pool.id)) for pool in found]


async def _addresses(session: TenantSession, ip_pool_id: UUID) -> list[Address]:
    columns = [ip_pool_addresses.c[name] for name in Address.__dataclass_fields__ if name != "warm_up"]
    rows = await session.execute(
        select(*columns).where(ip_pool_addresses.c.ip_pool_id == ip_pool_id).order_by(ip_pool_addresses.c.id)
    )
    warming = await standings(session, ip_pool_id)
    return [Address(**row, warm_up=warming.get(row["id"])) for row in rows.mappings()]


async def _held(session: TenantSession, ip_pool_id: UUID) -> IpPool:
    await session.execute(_HOLD, {"ip_pool_id": ip_pool_id})
    return await get_ip_pool(session, ip_pool_id)


async def _insert(session: TenantSession, ip_pool_id: UUID, address: NewAddress, vault: Vault) -> None:
    address_id = new_id()
    sealed = None
    if address.relay_url is not None:
        url = address.relay_url.reveal().encode()
        keyring = await vault.keyring(session)
        sealed = keyring.seal(url, table="ip_pool_addresses", row=address_id, column="sealed_relay_url")
    await session.execute(
        insert(ip_pool_addresses).values(
            id=address_id,
            ip_pool_id=ip_pool_id,
            sealed_relay_url=sealed,
            relay=address.relay,
            source_address=address.source,
            warm_at=func.now() if address.warm else None,
        )
    )


def _pools() -> Select[tuple[UUID, str, datetime]]:
    return select(ip_pools.c.id, ip_pools.c.name, ip_pools.c.created_at)


def _source(given: str, field: str) -> str:
    try:
        return str(ip_address(given)) if given else ""
    except ValueError:
        raise InvalidRequest(
            FieldViolation(f"{field}.source_address", "is no IPv4 or IPv6 address")
        ) from None


def _unknown(ip_pool_id: UUID) -> NotFound:
    return NotFound(f"IP pool as {ip_pool_id}")
