"""The audit trail: what happened that matters to security, by whom, from where. Append-only by grant.

Each organization's events form a chain: an event carries the SHA-256 of itself and of the hash before, so that none can be
changed, moved or taken out without every later hash showing it. `docs/audit.md` says how anybody can check that.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.identifiers import new_id
from services.identity.tables import audit_events

# What the first event of a chain follows.
BEGINNING = bytes(32)

# What was and what is: strings, booleans, None, and lists of strings. Never a secret.
Facts = Mapping[str, str | bool | list[str] | None]

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('identity.audit:' || :organization, 0))")


class Act(StrEnum):
    """What can be found in the trail."""

    SIGNED_UP = "signed_up"
    LOGGED_IN = "logged_in"
    LOG_IN_FAILED = "log_in_failed"
    LOGGED_OUT = "logged_out"
    LOGGED_OUT_EVERYWHERE = "logged_out_everywhere"
    SESSION_ENDED = "session_ended"
    REFRESH_REUSED = "refresh_reused"
    EMAIL_VERIFIED = "email_verified"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - an act, no password
    PASSWORD_RESET = "password_reset"  # noqa: S105 - an act, no password
    SECOND_FACTOR_ENABLED = "second_factor_enabled"
    SECOND_FACTOR_DISABLED = "second_factor_disabled"
    RECOVERY_CODE_USED = "recovery_code_used"
    RECOVERY_CODES_REPLACED = "recovery_codes_replaced"
    MEMBER_INVITED = "member_invited"
    INVITATION_REVOKED = "invitation_revoked"
    MEMBER_JOINED = "member_joined"
    MEMBER_ROLE_CHANGED = "member_role_changed"
    MEMBER_REMOVED = "member_removed"
    MEMBER_LEFT = "member_left"
    ORGANIZATION_RENAMED = "organization_renamed"
    ORGANIZATION_SUSPENDED = "organization_suspended"
    ORGANIZATION_RESUMED = "organization_resumed"
    ORGANIZATION_EXPORTED = "organization_exported"
    ORGANIZATION_ERASURE_REQUESTED = "organization_erasure_requested"
    ORGANIZATION_ERASURE_TAKEN_BACK = "organization_erasure_taken_back"
    ORGANIZATION_ERASED = "organization_erased"
    PLAN_CHANGED = "plan_changed"
    PLAN_CHANGE_PLANNED = "plan_change_planned"
    PLAN_CHANGE_TAKEN_BACK = "plan_change_taken_back"
    API_KEY_CREATED = "api_key_created"
    API_KEY_REVOKED = "api_key_revoked"
    OPERATOR_ADDED = "operator_added"
    DEAD_LETTER_REPLAY_REQUESTED = "dead_letter_replay_requested"
    SUPPRESSION_REMOVED = "suppression_removed"
    SUPPRESSIONS_ROLLED_BACK = "suppressions_rolled_back"
    REPUTATION_OVERRIDDEN = "reputation_overridden"
    WEBHOOK_ENDPOINT_CREATED = "webhook_endpoint_created"
    WEBHOOK_ENDPOINT_UPDATED = "webhook_endpoint_updated"
    WEBHOOK_ENDPOINT_ENABLED = "webhook_endpoint_enabled"
    WEBHOOK_ENDPOINT_DISABLED = "webhook_endpoint_disabled"
    WEBHOOK_ENDPOINT_DELETED = "webhook_endpoint_deleted"
    WEBHOOK_SECRET_ROTATED = "webhook_secret_rotated"  # noqa: S105 - an act, no secret
    WEBHOOK_REPLAY_REQUESTED = "webhook_replay_requested"
    WEBHOOK_DELIVERY_REPLAY_REQUESTED = "webhook_delivery_replay_requested"
    INTEGRATION_CONNECTED = "integration_connected"
    INTEGRATION_DISCONNECTED = "integration_disconnected"
    INTEGRATION_FIELDS_MAPPED = "integration_fields_mapped"
    COPILOT_TOOLS_USED = "copilot_tools_used"
    OPERATOR_READ = "operator_read"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One link of a chain."""

    organization_id: UUID
    sequence: int
    id: UUID
    occurred_at: datetime
    act: str
    actor_kind: str
    actor_id: str
    role: str
    client_address: str
    target_id: UUID
    before: Facts | None
    after: Facts | None
    request_id: str
    previous_hash: bytes
    # As it was written down with the event.
    hash: bytes

    @property
    def is_as_written(self) -> bool:
        """Whether nothing of the event was changed after its hash was taken."""
        content = asdict(self)
        written: bytes = content.pop("hash")
        return hash_of(content) == written


def hash_of(content: Mapping[str, Any]) -> bytes:
    """SHA-256 over all of an event but its hash, as JSON: names sorted, no white space, UTF-8; ids and hashes as text."""
    written = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_as_text)
    return sha256(written.encode()).digest()


async def record(
    session: TenantSession,
    act: Act,
    target_id: UUID,
    *,
    before: Facts | None = None,
    after: Facts | None = None,
    by: RequestContext | None = None,
    at: datetime | None = None,
) -> None:
    """Write that the actor of a context, the session's unless `by` is given, did this to the target: now, unless it was `at` another time.

    It belongs into the transaction in which it happens, or into the one that hears of it from another service.
    Until it ends, nothing else of the organization can be recorded: record last, or shortly before the end.
    """
    context = by or session.context
    await session.execute(_LOCK, {"organization": str(context.organization)})
    last = (
        await session.execute(
            select(audit_events.c.sequence, audit_events.c.hash)
            .order_by(audit_events.c.sequence.desc())
            .limit(1)
        )
    ).one_or_none()
    content = {
        "sequence": last.sequence + 1 if last else 1,
        "id": new_id(),
        "occurred_at": at or datetime.now(UTC),
        "act": act.value,
        "actor_kind": context.actor_kind.name,
        "actor_id": context.actor_id,
        "role": context.role.name,
        "client_address": context.client_address,
        "target_id": target_id,
        "before": before,
        "after": after,
        "request_id": context.request_id,
        "previous_hash": last.hash if last else BEGINNING,
    }
    taken = hash_of(content | {"organization_id": context.organization})
    await session.execute(insert(audit_events).values(content | {"hash": taken}))


async def page(
    session: TenantSession, *, before: UUID | None, size: int, act: str = "", actor_id: str = ""
) -> list[AuditEvent]:
    """At most `size` events, newest first, that are older than the one named; of one act, or one actor's, if given."""
    sequence = audit_events.c.sequence
    wanted = select(audit_events).order_by(sequence.desc()).limit(size)
    if before is not None:
        # Ids are made before the lock is held, and by several replicas: only the sequence is an order.
        named = select(sequence).where(audit_events.c.id == before).scalar_subquery()
        wanted = wanted.where(sequence < named)
    if act:
        wanted = wanted.where(audit_events.c.act == act)
    if actor_id:
        wanted = wanted.where(audit_events.c.actor_id == actor_id)
    return [AuditEvent(**row) for row in (await session.execute(wanted)).mappings()]


def _as_text(value: Any) -> str:
    match value:
        case UUID():
            return str(value)
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case bytes():
            return value.hex()
    raise TypeError(f"{type(value).__name__} has no place in an audit event")
