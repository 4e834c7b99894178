"""Who may call an RPC, as its `access` option says. The gateway asks at the edge, each service asks again."""

from dataclasses import dataclass
from enum import Enum
from typing import Self

from google.protobuf.descriptor import MethodDescriptor

from chassis.context import ActorKind, MissingOrganization, RequestContext, Role
from chassis.errors import PermissionDenied, Unauthenticated
from flownurture.options.v1 import access_pb2

GATEWAY = "gateway"


class AccessMissing(Exception):
    """An RPC does not say who may call it, or says it in a way that nobody could follow."""


class Audience(Enum):
    """Whom an RPC is for; the numbers are those of `flownurture.options.v1.Audience`."""

    PUBLIC = 1
    TENANT = 2
    PLATFORM = 3
    INTERNAL = 4
    ACCOUNT = 5


@dataclass(frozen=True, slots=True)
class AccessRule:
    """The access option of one RPC.

    An API key is bound by its scopes alone: a rule with a scope admits the keys that hold it, a rule without
    admits none. A user is bound by the role alone. The plan's feature binds both.
    """

    audience: Audience
    role: Role
    scope: str
    feature: str
    callers: frozenset[str]
    delegates: frozenset[str] = frozenset()

    @classmethod
    def of(cls, method: MethodDescriptor) -> Self:
        """Read the option of an RPC; raises AccessMissing, naming the RPC, when there is none to go by."""
        options = method.GetOptions()
        if not options.HasExtension(access_pb2.access):
            raise AccessMissing(f"{method.full_name} has no access option")
        access = options.Extensions[access_pb2.access]
        if access.audience == access_pb2.AUDIENCE_UNSPECIFIED:
            raise AccessMissing(f"{method.full_name} has an access option without an audience")
        audience = Audience(access.audience)
        if audience is Audience.INTERNAL and not access.callers:
            raise AccessMissing(f"{method.full_name} is internal and names no callers")
        least = {Audience.TENANT: Role.MEMBER, Audience.PLATFORM: Role.SUPER_ADMIN}.get(audience, Role.NONE)
        return cls(
            audience,
            max(Role(access.role), least),
            access.scope,
            access.feature,
            frozenset(access.callers) if audience is Audience.INTERNAL else frozenset((GATEWAY,)),
            frozenset(access.delegates) if audience is Audience.TENANT else frozenset(),
        )

    def check(self, context: RequestContext) -> None:
        """Raise Unauthenticated or PermissionDenied, with a reason, unless the context may make this call."""
        if context.issuer not in self.callers or (
            context.delegate and context.delegate not in self.delegates
        ):
            raise PermissionDenied("This process may not call this.", reason="CALLER_NOT_ALLOWED")
        if self.audience is Audience.PUBLIC or self.audience is Audience.INTERNAL:
            return
        if self.audience is Audience.TENANT and context.organization_suspended:
            raise PermissionDenied("The organization is suspended.", reason="ORGANIZATION_SUSPENDED")
        if context.actor_kind is ActorKind.USER:
            if context.role < self.role:
                raise PermissionDenied(f"This takes the role {self.role.name}.", reason="INSUFFICIENT_ROLE")
        elif context.actor_kind is ActorKind.API_KEY:
            self._check_scope(context)
        else:
            raise Unauthenticated
        if self.audience is Audience.TENANT and context.organization_id is None:
            raise MissingOrganization
        if self.feature and self.feature not in context.features:
            raise PermissionDenied(
                f"The organization's plan does not include {self.feature}.", reason="PLAN_UPGRADE_REQUIRED"
            )

    def _check_scope(self, context: RequestContext) -> None:
        if self.audience is not Audience.TENANT or not self.scope:
            raise PermissionDenied("API keys cannot do this, users can.", reason="INSUFFICIENT_SCOPE")
        if self.scope not in context.scopes:
            raise PermissionDenied(f"This takes the scope {self.scope}.", reason="INSUFFICIENT_SCOPE")
