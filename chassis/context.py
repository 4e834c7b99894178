"""On whose behalf something happens: the organization, the actor and what it may do."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, IntEnum
from typing import Self
from uuid import UUID, uuid4

from chassis.errors import PermissionDenied, Unavailable


class ActorKind(Enum):
    """Who acts; the numbers are those of `flownurture.context.v1.Actor.Kind`."""

    ANONYMOUS = 1
    USER = 2
    API_KEY = 3
    PROCESS = 4


class Role(IntEnum):
    """What a user may do, each role all that the lesser ones may; the numbers are those of the contract."""

    NONE = 0
    MEMBER = 1
    ORG_ADMIN = 2
    SUPER_ADMIN = 3


# The platform's operators are the members of this organization. It holds what is the platform's own (their sessions,
# their audit trail, the mails about accounts) under the same policies as everybody's. No stamp ever carries it.
PLATFORM = UUID("00000000-0000-7000-8000-000000000000")


class MissingOrganization(PermissionDenied):
    """Something that belongs to an organization was asked for outside of any."""

    def __init__(self) -> None:
        super().__init__("This takes a member of an organization.", reason="INSUFFICIENT_ROLE")


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The verified context of one request or one event.

    Nothing a caller writes into a request ends up here. It comes from a verified stamp, an event's envelope, a
    verified link, a row that a scheduler's role found, or identity's own look-up of a credential.
    """

    issuer: str
    actor_kind: ActorKind
    actor_id: str = ""
    role: Role = Role.NONE
    scopes: frozenset[str] = frozenset()
    features: frozenset[str] = frozenset()
    organization_id: UUID | None = None
    # Nobody acts within a suspended organization; its members still see to their own accounts.
    organization_suspended: bool = False
    # Of the organization's plan, by name; none where no credential brought the context about.
    limits: tuple[tuple[str, int], ...] = ()
    # When the organization's billing cycle began.
    cycle_started_at: datetime | None = None
    session_id: str = ""
    # Where the client is, as the gateway sees it, and what it calls itself where a session may begin.
    client_address: str = ""
    user_agent: str = ""
    # It asks for headers alone: a program looks, no person.
    head_only: bool = False
    request_id: str = ""
    idempotency_key: str | None = None
    # The process that calls for who this is about, within what that one may do.
    delegate: str = ""
    # The gateway's stamp that it came with, to be shown where a process calls for the client.
    stamp: bytes = field(default=b"", repr=False, compare=False)

    @classmethod
    def of_process(cls, process: str, organization_id: UUID | None, *, request_id: str = "") -> Self:
        """A process acting by itself for an organization: on an event, a due row, a verified link."""
        return cls(
            issuer=process,
            actor_kind=ActorKind.PROCESS,
            actor_id=process,
            organization_id=organization_id,
            request_id=request_id or str(uuid4()),
        )

    def for_session(
        self, *, user_id: UUID, session_id: UUID, organization_id: UUID | None, role: Role = Role.NONE
    ) -> Self:
        """The same request, now known to be this user's. For identity alone, once it has checked the proof."""
        return replace(
            self,
            actor_kind=ActorKind.USER,
            actor_id=str(user_id),
            role=role,
            organization_id=organization_id,
            session_id=str(session_id),
        )

    def limit(self, name: str) -> int:
        """How much of something the organization's plan allows.

        Raises Unavailable for a context that does not say: what is not known is never unlimited.
        """
        for known, limit in self.limits:
            if known == name:
                return limit
        raise Unavailable("What the plan allows cannot be told at the moment.")

    @property
    def organization(self) -> UUID:
        """The organization; raises MissingOrganization when there is none."""
        if self.organization_id is None:
            raise MissingOrganization
        return self.organization_id
