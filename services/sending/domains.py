"""Domains that an organization sends from, their keys, and what the DNS says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, case, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from chassis.email_address import EmailAddress
from chassis.errors import Conflict, FieldViolation, InvalidRequest, NotFound
from chassis.identifiers import new_id
from chassis.vault.vault import Vault
from services.sending.dkim_keys import Algorithm, KeyPair, published
from services.sending.domain_records import Finding, Platform, Purpose, Record, State, fixed_records
from services.sending.statuses import DomainStatus
from services.sending.tables import dkim_keys, domains

MOST_DOMAINS = 100
# As long as receivers may still look up what an old key has signed.
_OVERLAP = timedelta(days=7)
# A record that cannot be seen now and then is no reason to send from elsewhere.
_FAILURES_THAT_COUNT = 3
_FAILURES_UNTIL_LATER = 144
_SOON = timedelta(minutes=10)
_LATER = timedelta(hours=6)

# For the scheduler's role.
DOMAINS_TO_CHECK = text("""
    SELECT organization_id, id FROM sending.domains WHERE next_check_at <= now() ORDER BY next_check_at LIMIT 64
""")


@dataclass(frozen=True, slots=True)
class DomainKey:
    """The public side of a key."""

    id: UUID
    selector: str
    algorithm: Algorithm
    public_key: str
    found_at: datetime | None
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain as its organization sees it; newest keys first."""

    id: UUID
    name: str
    status: DomainStatus
    findings: Mapping[str, Any]
    created_at: datetime
    verified_at: datetime | None
    checked_at: datetime | None
    keys: Sequence[DomainKey] = field(default=())

    def records(self, platform: Platform) -> list[Record]:
        """What is to be published for it."""
        return [*map(self._record_of, self.keys), *fixed_records(self.name, platform)]

    def finding(self, record: Record) -> Finding:
        """What was found of one of its records at the last check."""
        known = self.findings.get(_label(record))
        return Finding(State(known["state"]), known["detail"]) if known else Finding(State.UNCHECKED)

    def _record_of(self, key: DomainKey) -> Record:
        return Record(
            Purpose.DKIM,
            "TXT",
            f"{key.selector}._domainkey.{self.name}",
            published(key.algorithm, key.public_key),
            key.retired_at + _OVERLAP if key.retired_at else None,
        )


_COLUMNS = [domains.c[name] for name in Domain.__dataclass_fields__ if name != "keys"]
_KEY_COLUMNS = [dkim_keys.c[name] for name in DomainKey.__dataclass_fields__]


def domain_name(given: str) -> str:
    """A domain's name in ASCII and small letters. Raises InvalidRequest."""
    try:
        return EmailAddress.parse(f"postmaster@{given.strip().rstrip('.')}").ascii_domain.lower()
    except ValueError as error:
        raise InvalidRequest(FieldViolation("name", str(error))) from None


async def create_domain(session: TenantSession, name: str, vault: Vault, pairs: Sequence[KeyPair]) -> Domain:
    """Add a domain with fresh keys. Raises Conflict when it is there, or there are as many as there may be."""
    domain_id = new_id()
    if int(await session.scalar(select(func.count()).select_from(domains)) or 0) >= MOST_DOMAINS:
        raise Conflict(f"There are {MOST_DOMAINS} domains, and may be no more.")
    made = await session.scalar(
        insert(domains)
        .values(id=domain_id, name=name, status=DomainStatus.PENDING.value)
        .on_conflict_do_nothing()
        .returning(domains.c.id)
    )
    if made is None:
        raise Conflict(f"There is a domain {name} already.")
    await _add_keys(session, domain_id, vault, pairs)
    return await get_domain(session, domain_id)


async def get_domain(session: TenantSession, domain_id: UUID) -> Domain:
    """The domain with its keys. Raises NotFound."""
    row = (await session.execute(select(*_COLUMNS).where(domains.c.id == domain_id))).mappings().one_or_none()
    if row is None:
        raise NotFound(f"domain as {domain_id}")
    keys = await session.execute(
        select(*_KEY_COLUMNS).where(dkim_keys.c.domain_id == domain_id).order_by(dkim_keys.c.id.desc())
    )
    return _domain(
        row, [DomainKey(**{**key, "algorithm": Algorithm(key["algorithm"])}) for key in keys.mappings()]
    )


async def page_domains(session: TenantSession, *, before: UUID | None, size: int) -> list[Domain]:
    """Up to `size` domains, newest first and without their keys, that are older than `before`."""
    wanted = select(*_COLUMNS).order_by(domains.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(domains.c.id < before)
    return [_domain(row, ()) for row in (await session.execute(wanted)).mappings()]


async def delete_domain(session: TenantSession, domain_id: UUID) -> None:
    """Delete it and its keys. Raises NotFound."""
    if await session.scalar(delete(domains).where(domains.c.id == domain_id).returning(domains.c.id)) is None:
        raise NotFound(f"domain as {domain_id}")


async def rotate_keys(
    session: TenantSession, domain_id: UUID, vault: Vault, pairs: Sequence[KeyPair]
) -> Domain:
    """Add fresh keys beside the old ones. Raises NotFound, Conflict when the newest keys are not in the DNS yet."""
    await session.execute(select(domains.c.id).where(domains.c.id == domain_id).with_for_update())
    domain = await get_domain(session, domain_id)
    if any(key.found_at is None and key.retired_at is None for key in domain.keys):
        raise Conflict(
            "The newest keys are not in the DNS yet: publish their records, and verify the domain."
        )
    await _add_keys(session, domain_id, vault, pairs)
    await session.execute(
        update(domains).where(domains.c.id == domain_id).values(next_check_at=func.now() + _SOON)
    )
    return await get_domain(session, domain_id)


async def note_findings(
    session: TenantSession, domain: Domain, found: Sequence[tuple[Record, Finding]]
) -> Domain:
    """Keep what a check has found: keys sign from when they are found on, and a domain counts when all of its records are there.

    Raises NotFound when the domain was deleted meanwhile.
    """
    await session.execute(select(domains.c.id).where(domains.c.id == domain.id).with_for_update())
    complete = _is_complete(found)
    there = {record.name for record, finding in found if finding.state is State.FOUND}
    await _note_keys(session, domain, there, complete=complete)
    await session.execute(
        update(domains)
        .where(domains.c.id == domain.id)
        .values(
            findings={
                _label(record): {"state": finding.state.value, "detail": finding.detail}
                for record, finding in found
            },
            failures=0 if complete else domains.c.failures + 1,
            status=DomainStatus.VERIFIED.value if complete else _STATUS_AFTER_A_FAILURE,
            verified_at=func.coalesce(domains.c.verified_at, func.now())
            if complete
            else domains.c.verified_at,
            checked_at=func.now(),
            next_check_at=func.now() + (_LATER if complete else _AFTER_A_FAILURE),
        )
    )
    return await get_domain(session, domain.id)


async def put_off_check(session: TenantSession, domain_id: UUID) -> None:
    """Look again soon: the DNS did not answer, which says nothing."""
    await session.execute(
        update(domains).where(domains.c.id == domain_id).values(next_check_at=func.now() + _SOON)
    )


# Whoever has published records looks for them soon; what was never published need not be looked for each time.
_AFTER_A_FAILURE = case((domains.c.failures < _FAILURES_UNTIL_LATER, _SOON), else_=_LATER)
_STATUS_AFTER_A_FAILURE = case(
    (
        (domains.c.status == DomainStatus.VERIFIED.value) & (domains.c.failures + 1 >= _FAILURES_THAT_COUNT),
        DomainStatus.FAILED.value,
    ),
    else_=domains.c.status,
)


def _is_complete(found: Sequence[tuple[Record, Finding]]) -> bool:
    """Whether mail from it is authenticated: by an RSA key that signs, since few verify others (RFC 8463), and all there is beside keys."""
    by_key = [
        finding.state
        for record, finding in found
        if record.value.startswith(published(Algorithm.RSA, "")) and record.needed_until is None
    ]
    others = [finding.state for record, finding in found if record.purpose is not Purpose.DKIM]
    return State.FOUND in by_key and all(state is State.FOUND for state in others)


async def _note_keys(session: TenantSession, domain: Domain, names: set[str], *, complete: bool) -> None:
    there = [key for key in domain.keys if f"{key.selector}._domainkey.{domain.name}" in names]
    gone = [key.id for key in domain.keys if key not in there]
    await session.execute(
        update(dkim_keys)
        .where(dkim_keys.c.id.in_([key.id for key in there]), dkim_keys.c.found_at.is_(None))
        .values(found_at=func.now())
    )
    if complete:
        # Otherwise it is the domain that stops being used, if that stays so.
        await session.execute(update(dkim_keys).where(dkim_keys.c.id.in_(gone)).values(found_at=None))
    for algorithm in Algorithm:
        newest = next((key for key in there if key.algorithm is algorithm and key.retired_at is None), None)
        if newest is not None:
            await session.execute(
                update(dkim_keys)
                .where(
                    dkim_keys.c.domain_id == domain.id,
                    dkim_keys.c.algorithm == algorithm.value,
                    dkim_keys.c.id < newest.id,
                    dkim_keys.c.retired_at.is_(None),
                )
                .values(retired_at=func.now())
            )
    await session.execute(
        delete(dkim_keys).where(
            dkim_keys.c.domain_id == domain.id, dkim_keys.c.retired_at < func.now() - _OVERLAP
        )
    )


async def _add_keys(session: TenantSession, domain_id: UUID, vault: Vault, pairs: Sequence[KeyPair]) -> None:
    keyring = await vault.keyring(session)
    for pair in pairs:
        key_id = new_id()
        sealed = keyring.seal(pair.private_der, table="dkim_keys", row=key_id, column="sealed_key")
        await session.execute(
            insert(dkim_keys).values(
                id=key_id,
                domain_id=domain_id,
                # Nobody else's at any provider, and new with each key.
                selector=f"fn{key_id.hex[-12:]}",
                algorithm=pair.algorithm.value,
                sealed_key=sealed,
                public_key=pair.public,
            )
        )


def _domain(row: RowMapping, keys: Sequence[DomainKey]) -> Domain:
    return Domain(**{**row, "status": DomainStatus(row["status"])}, keys=keys)


def _label(record: Record) -> str:
    return f"{record.type} {record.name} {record.purpose.value}"
