"""What is done with endpoints, as the audit trail is told of it.

Of a URL the trail holds where it leads, not its path and query, in which receivers like to have secrets; a description may be about persons.
That they were changed is told.
"""

from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Row

from chassis.audited_acts import Facts
from chassis.database import TenantSession
from flownurture.audit.v1.acts_pb2 import AuditedAct
from services.webhooks.acts import tell


def tell_created(session: TenantSession, endpoint: Row[Any]) -> None:
    """Tell that there is an endpoint."""
    tell(session, AuditedAct.KIND_WEBHOOK_ENDPOINT_CREATED, endpoint.id, after=_shown(endpoint))


def tell_deleted(session: TenantSession, endpoint: Row[Any]) -> None:
    """Tell which endpoint is there no more."""
    tell(session, AuditedAct.KIND_WEBHOOK_ENDPOINT_DELETED, endpoint.id, before=_shown(endpoint))


def tell_changed(session: TenantSession, before: Row[Any], after: Row[Any], *, headers_given: bool) -> None:
    """Tell what of it is different, if anything is; that it was enabled or disabled is an act of its own."""
    was, is_ = _shown(before), _shown(after)
    differing = [name for name in was if was[name] != is_[name] and name != "enabled"]
    withheld = [name for name in ("url", "description") if getattr(before, name) != getattr(after, name)]
    if headers_given:
        # Whether their values are others, only who opened them could tell.
        withheld.append("headers")
    if differing or withheld:
        tell(
            session,
            AuditedAct.KIND_WEBHOOK_ENDPOINT_UPDATED,
            after.id,
            before={name: was[name] for name in differing} or None,
            after={name: is_[name] for name in differing} | ({"withheld": withheld} if withheld else {}),
        )
    if after.enabled and not before.enabled:
        _tell_switched(session, AuditedAct.KIND_WEBHOOK_ENDPOINT_ENABLED, before, after)
    if before.enabled and not after.enabled:
        _tell_switched(session, AuditedAct.KIND_WEBHOOK_ENDPOINT_DISABLED, before, after)


def tell_rotated(session: TenantSession, endpoint: Row[Any]) -> None:
    """Tell that its secret is another."""
    tell(session, AuditedAct.KIND_WEBHOOK_SECRET_ROTATED, endpoint.id)


def _tell_switched(
    session: TenantSession, kind: AuditedAct.Kind.ValueType, before: Row[Any], after: Row[Any]
) -> None:
    tell(session, kind, after.id, before={"enabled": before.enabled}, after={"enabled": after.enabled})


def _shown(endpoint: Row[Any]) -> Facts:
    url = urlsplit(endpoint.url)
    return {
        "origin": f"{url.scheme}://{url.netloc}",
        "event_types": endpoint.event_types,
        "enabled": endpoint.enabled,
        "header_names": endpoint.header_names,
        "rate_limit": None if endpoint.rate_limit is None else str(endpoint.rate_limit),
        "api_version": endpoint.api_version,
        "message_signatures": endpoint.message_signatures,
    }
