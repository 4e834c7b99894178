"""The contract's messages for what the domain knows."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.context import Role
from chassis.errors import FieldViolation, InvalidRequest
from flownurture.identity.v1 import api_keys_pb2, auth_pb2, organization_pb2
from flownurture.options.v1 import access_pb2
from services.identity.api_keys import StoredKey
from services.identity.organizations import Organization
from services.identity.plans import Plan
from services.identity.users import User


def user_message(user: User) -> auth_pb2.User:
    """A user as clients see it."""
    return auth_pb2.User(
        id=str(user.id),
        email=user.email,
        name=user.name,
        created_at=timestamp(user.created_at),
        email_verified=user.email_verified,
    )


def organization_message(organization: Organization, now: datetime) -> organization_pb2.Organization:
    """An organization as clients see it."""
    return organization_pb2.Organization(
        id=str(organization.id),
        name=organization.name,
        plan=plan_value(organization.subscription.at(now).plan),
        suspended=organization.suspended,
        created_at=timestamp(organization.created_at),
    )


def plan_value(plan: Plan) -> organization_pb2.Plan.ValueType:
    """A plan in the contract's numbers."""
    return organization_pb2.Plan.Value(f"PLAN_{plan.name}")


def plan_named(plan: organization_pb2.Plan.ValueType) -> Plan:
    """The plan that a request names."""
    return Plan[organization_pb2.Plan.Name(plan).removeprefix("PLAN_")]


def home_message(organization: Organization, now: datetime) -> organization_pb2.Organization | None:
    """The organization of a session; the operators' own is none in the eyes of a client."""
    return None if organization.is_platform else organization_message(organization, now)


def role_value(role: Role) -> access_pb2.Role.ValueType:
    """A role in the contract's numbers."""
    return access_pb2.Role.Value(f"ROLE_{role.name}")


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A moment as the contract writes it; None stays absent."""
    if moment is None:
        return None
    written = Timestamp()
    written.FromDatetime(moment)
    return written


def api_key_message(key: StoredKey) -> api_keys_pb2.ApiKey:
    """A key as its owner sees it in a list."""
    return api_keys_pb2.ApiKey(
        id=str(key.id),
        name=key.name,
        prefix=key.prefix,
        scopes=key.scopes,
        created_at=timestamp(key.created_at),
        expires_at=timestamp(key.expires_at),
        last_used_at=timestamp(key.last_used_at),
    )


def refuse_cursor(page_token: str) -> None:
    """Raise InvalidRequest for the token of a page behind the only one."""
    if page_token:
        raise InvalidRequest(FieldViolation("page_token", "is none of this list's: it has one page"))
