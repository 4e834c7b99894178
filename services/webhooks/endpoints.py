"""Endpoints: where an organization is told what happened, and the secrets that its events are signed with."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, case, delete, func, insert, select, update

from chassis.database import TenantSession
from chassis.errors import Conflict, NotFound
from chassis.identifiers import new_id
from chassis.secret import Secret
from chassis.vault.keyring import Keyring
from chassis.vault.vault import Vault
from services.webhooks import deliveries, usage
from services.webhooks.endpoint_acts import tell_changed, tell_created, tell_deleted, tell_rotated
from services.webhooks.endpoint_headers import Headers
from services.webhooks.endpoint_secrets import (
    opened_secrets,
    sealed_headers,
    sealed_previous_secret,
    sealed_secret,
)
from services.webhooks.fan_out import wait_until_kept
from services.webhooks.signing import new_secret
from services.webhooks.tables import endpoints

# For so long after a rotation the secret before signs, too.
OVERLAP = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint, without anything of it that is secret."""

    id: UUID
    url: str
    description: str
    event_types: Sequence[str]
    enabled: bool
    disabled_reason: str | None
    header_names: Sequence[str]
    # Posts a second.
    rate_limit: int | None
    api_version: str
    message_signatures: bool
    failing_since: datetime | None
    paused_until: datetime | None
    previous_secret_until: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Draft:
    """What an endpoint is made of. Everything in it has been checked."""

    url: str
    event_types: Sequence[str]
    description: str
    enabled: bool
    headers: Headers
    rate_limit: int | None
    api_version: str
    message_signatures: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be different about an endpoint. None leaves a thing as it is, and a rate limit of 0 takes it away."""

    url: str | None
    event_types: Sequence[str] | None
    description: str | None
    enabled: bool | None
    headers: Headers | None
    rate_limit: int | None
    api_version: str | None
    message_signatures: bool | None


def _as_told(name: str) -> ColumnElement[Any]:
    column = endpoints.c[name]
    if name not in ("paused_until", "previous_secret_until"):
        return column
    # What is over is nothing to anybody; the row keeps it until there is another.
    return case((column > func.now(), column)).label(name)


_COLUMNS = [_as_told(name) for name in Endpoint.__dataclass_fields__]


async def create_endpoint(session: TenantSession, vault: Vault, draft: Draft) -> tuple[Endpoint, Secret]:
    """Create an endpoint; answers the secret with it. Raises EndpointLimitReached, Unavailable."""
    await usage.require_place(session)
    endpoint_id, secret, keyring = new_id(), new_secret(), await vault.keyring(session)
    inserted = await session.execute(
        insert(endpoints)
        .values(
            id=endpoint_id,
            url=draft.url,
            description=draft.description,
            event_types=list(draft.event_types),
            enabled=draft.enabled,
            rate_limit=draft.rate_limit,
            api_version=draft.api_version,
            message_signatures=draft.message_signatures,
            sealed_secret=sealed_secret(keyring, endpoint_id, secret),
            **_headers(keyring, endpoint_id, draft.headers),
        )
        .returning(*_COLUMNS)
    )
    created = inserted.one()
    tell_created(session, created)
    return _endpoint(created), secret


async def get_endpoint(session: TenantSession, endpoint_id: UUID) -> Endpoint:
    """The endpoint. Raises NotFound."""
    found = await session.execute(select(*_COLUMNS).where(endpoints.c.id == endpoint_id))
    return _found(found.one_or_none(), endpoint_id)


async def require_enabled(session: TenantSession, endpoint_id: UUID) -> Endpoint:
    """The endpoint, to which something is to be sent, held until then. Raises NotFound, and Conflict when it is disabled."""
    found = await session.execute(
        select(*_COLUMNS).where(endpoints.c.id == endpoint_id).with_for_update(read=True, key_share=True)
    )
    endpoint = _found(found.one_or_none(), endpoint_id)
    if not endpoint.enabled:
        raise Conflict("The endpoint is disabled.")
    return endpoint


async def page_endpoints(session: TenantSession, *, before: UUID | None, size: int) -> list[Endpoint]:
    """Up to `size` endpoints, newest first, that are older than `before`."""
    wanted = select(*_COLUMNS).order_by(endpoints.c.id.desc()).limit(size)
    if before is not None:
        wanted = wanted.where(endpoints.c.id < before)
    return [_endpoint(row) for row in await session.execute(wanted)]


async def find_endpoints(session: TenantSession, endpoint_ids: Collection[UUID]) -> list[UUID]:
    """Those of the ids that are endpoints of the organization."""
    found = await session.execute(select(endpoints.c.id).where(endpoints.c.id.in_(endpoint_ids)))
    return list(found.scalars())


async def update_endpoint(
    session: TenantSession, vault: Vault, endpoint_id: UUID, changes: Changes
) -> Endpoint:
    """Change what is given. Raises NotFound."""
    held = await session.execute(
        select(*_COLUMNS).where(endpoints.c.id == endpoint_id).with_for_update(key_share=True)
    )
    before = held.one_or_none()
    if before is None:
        raise _no_such(endpoint_id)
    changed = await session.execute(
        update(endpoints)
        .where(endpoints.c.id == endpoint_id)
        .values(updated_at=func.now(), **_changed(await vault.keyring(session), endpoint_id, changes))
        .returning(*_COLUMNS)
    )
    after = changed.one()
    tell_changed(session, before, after, headers_given=changes.headers is not None)
    return _endpoint(after)


async def rotate_secret(session: TenantSession, vault: Vault, endpoint_id: UUID) -> tuple[Endpoint, Secret]:
    """Give it a new secret, which is answered; for `OVERLAP` the present one signs, too. Raises NotFound."""
    held = await session.execute(select(endpoints).where(endpoints.c.id == endpoint_id).with_for_update())
    row = held.one_or_none()
    if row is None:
        raise _no_such(endpoint_id)
    keyring = await vault.keyring(session)
    present, fresh = opened_secrets(row, keyring)[0], new_secret()
    updated = await session.execute(
        update(endpoints)
        .where(endpoints.c.id == endpoint_id)
        .values(
            sealed_secret=sealed_secret(keyring, endpoint_id, fresh),
            sealed_previous_secret=sealed_previous_secret(keyring, endpoint_id, present),
            previous_secret_until=func.now() + OVERLAP,
            updated_at=func.now(),
        )
        .returning(*_COLUMNS)
    )
    rotated = updated.one()
    tell_rotated(session, rotated)
    return _endpoint(rotated), fresh


async def delete_endpoint(session: TenantSession, endpoint_id: UUID) -> None:
    """Delete it, and send nothing of what waits for it. Raises NotFound.

    Whoever gives it something to wait for reads it FOR KEY SHARE: what they write is cancelled here, or never written. Events that
    are being told to all endpoints are waited for.
    """
    await wait_until_kept(session)
    found = await session.execute(delete(endpoints).where(endpoints.c.id == endpoint_id).returning(*_COLUMNS))
    deleted = found.one_or_none()
    if deleted is None:
        raise _no_such(endpoint_id)
    await deliveries.cancel(session, endpoint_id)
    tell_deleted(session, deleted)


def _changed(keyring: Keyring, endpoint_id: UUID, changes: Changes) -> dict[str, Any]:
    plain = ("url", "description", "enabled", "api_version", "message_signatures")
    values = {name: value for name in plain if (value := getattr(changes, name)) is not None}
    if changes.event_types is not None:
        values["event_types"] = list(changes.event_types)
    if changes.rate_limit is not None:
        values["rate_limit"] = changes.rate_limit or None
    if changes.headers is not None:
        values |= _headers(keyring, endpoint_id, changes.headers)
    if changes.enabled:
        # What was wrong with it before counts no more.
        values |= dict.fromkeys(("disabled_reason", "failing_since", "paused_until"))
    if changes.enabled is False:
        # From now on it is its organization that wants it so.
        values["disabled_reason"] = None
    return values


def _headers(keyring: Keyring, endpoint_id: UUID, headers: Headers) -> dict[str, Any]:
    return {
        "headers_sealed": sealed_headers(keyring, endpoint_id, headers),
        "header_names": [name for name, _ in headers],
    }


def _found(row: Row[Any] | None, endpoint_id: UUID) -> Endpoint:
    if row is None:
        raise _no_such(endpoint_id)
    return _endpoint(row)


def _endpoint(row: Row[Any]) -> Endpoint:
    return Endpoint(**row._mapping)


def _no_such(endpoint_id: UUID) -> NotFound:
    return NotFound(f"webhook endpoint as {endpoint_id}")
