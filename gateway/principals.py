"""From a grant to the context of a request. The gateway alone makes contexts so, and only from what admission answers."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from uuid import UUID

from chassis.context import ActorKind, RequestContext, Role
from chassis.contract.access import GATEWAY
from flownurture.identity.v1 import admission_pb2

_REMEMBERED = 10_000

ANONYMOUS = RequestContext(issuer=GATEWAY, actor_kind=ActorKind.ANONYMOUS)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a grant speaks of."""

    context: RequestContext
    # Unix seconds.
    expires_at: float


class Principals:
    """Reads grants. Remembers readings by the grant's bytes, which say nothing about whether it still stands."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._read: dict[bytes, Principal] = {}

    def of(self, grant: bytes) -> Principal | None:
        """The principal of a serialized Grant; None when its credential has expired."""
        principal = self._read.get(grant)
        if principal is None:
            if len(self._read) >= _REMEMBERED:
                del self._read[next(iter(self._read))]
            principal = self._read[grant] = _principal(admission_pb2.Grant.FromString(grant))
        return principal if self._clock() < principal.expires_at else None


def _principal(grant: admission_pb2.Grant) -> Principal:
    context = RequestContext(
        issuer=GATEWAY,
        actor_kind=ActorKind(grant.actor.kind),
        actor_id=grant.actor.id,
        role=Role(grant.role),
        scopes=frozenset(grant.scopes),
        features=frozenset(grant.features),
        organization_id=UUID(grant.organization_id) if grant.organization_id else None,
        session_id=grant.session_id,
        organization_suspended=grant.organization_suspended,
        limits=tuple(sorted(grant.limits.items())),
        cycle_started_at=grant.cycle_started_at.ToDatetime(UTC)
        if grant.HasField("cycle_started_at")
        else None,
    )
    expires_at = grant.expires_at.ToMilliseconds() / 1000 if grant.HasField("expires_at") else float("inf")
    return Principal(context, expires_at)
