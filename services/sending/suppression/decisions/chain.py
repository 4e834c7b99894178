"""The chain of an organization's decisions of one day, as it is written down: each decision carries a hash over itself and the one before.

What is hashed is what an export has in a line, less the hash: the SHA-256 of a JSON object in UTF-8, its names sorted, without
white space. So nothing but the file is needed to verify it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

# What the first decision of a day follows.
BEGINNING = bytes(32)


@dataclass(frozen=True, slots=True)
class Decision:
    """What one gate decided of one batch at one moment."""

    day: date
    transaction: str
    id: UUID
    decided_at: datetime
    gate: str
    batch_id: UUID
    list_version: int
    # The ids of messages, 16 bytes each.
    allowed: bytes
    denied: Sequence[UUID]
    # Of each that was denied.
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class Link:
    """The place of a decision in its chain."""

    sequence: int
    previous_hash: bytes


def content_of(organization_id: UUID, decision: Decision, link: Link | None) -> dict[str, Any]:
    """What is written down of a decision; without a link, what is in no chain yet."""
    return {
        "organization_id": str(organization_id),
        "day": decision.day.isoformat(),
        "sequence": link.sequence if link else None,
        "id": str(decision.id),
        "decided_at": decision.decided_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "gate": decision.gate,
        "batch_id": str(decision.batch_id),
        "list_version": decision.list_version,
        "allowed": decision.allowed.hex(),
        "denied": [
            [str(message_id), reason]
            for message_id, reason in zip(decision.denied, decision.reasons, strict=True)
        ],
        "previous_hash": link.previous_hash.hex() if link else None,
    }


def written(content: Mapping[str, Any]) -> bytes:
    """The JSON object that stands for it."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def hash_of(content: Mapping[str, Any]) -> bytes:
    """The hash of what is written down."""
    return sha256(written(content)).digest()
