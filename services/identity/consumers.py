"""Events in: acts on what other services own, which the trail tells of too, and notices that workflows have for members."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from google.protobuf.json_format import MessageToDict

from chassis.consumer import Consumer, Handler, Inbox
from chassis.context import ActorKind, RequestContext, Role
from chassis.database import Database, TenantSession
from chassis.erasure import Erasures
from chassis.events import EventBus
from chassis.identifiers import parse_id
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.identity.v1.events_pb2 import OrganizationErased
from flownurture.integrations.v1.events_pb2 import ConnectionNeedsAuthorization, IntegrationActCommitted
from flownurture.sending.v1.events_pb2 import ReputationOverridden, SendingActCommitted
from flownurture.sending.v1.messages_pb2 import SuppressionReason
from flownurture.suppression.v1.events_pb2 import (
    SuppressionActCommitted,
    SuppressionRemoved,
    SuppressionsRolledBack,
)
from flownurture.webhooks.v1.events_pb2 import WebhookActCommitted, WebhookEndpointDisabled
from flownurture.workflows.v1.events_pb2 import NotifyMembers
from services.identity import audit
from services.identity.account_mails import AccountMails
from services.identity.admin_notices import tell_of_disabled_endpoint, tell_of_refused_connection
from services.identity.audit import Act, Facts
from services.identity.member_notices import notify_members

_MOMENTS: tuple[Literal["since", "until"], ...] = ("since", "until")


def consumers(bus: EventBus, database: Database, mails: AccountMails) -> list[Consumer]:
    """Readers of the streams SUPPRESSION, SENDING, MEMBER_NOTICES, WEBHOOKS and INTEGRATIONS."""

    async def on_notify_members(order: NotifyMembers, context: RequestContext, _: Inbox) -> None:
        """Each notice is noted by itself, so the order may come again, or another with some of its notices."""
        async with database.tenant_transaction(context) as session:
            await notify_members(session, order.notices, mails)

    async def on_endpoint_disabled(
        event: WebhookEndpointDisabled, context: RequestContext, session: TenantSession, at: datetime
    ) -> None:
        """Tell the admins, and record that it was nobody but the platform."""
        await tell_of_disabled_endpoint(session, event, mails)
        await audit.record(
            session,
            Act.WEBHOOK_ENDPOINT_DISABLED,
            parse_id(event.endpoint_id),
            before={"enabled": True},
            after={"enabled": False, "reason": event.reason},
            by=replace(context, actor_id="webhooks"),
            at=at,
        )

    async def on_connection_refused(
        event: ConnectionNeedsAuthorization, _: RequestContext, session: TenantSession, __: datetime
    ) -> None:
        """Tell the admins."""
        await tell_of_refused_connection(session, event, mails)

    return [
        Consumer(
            bus,
            stream="SUPPRESSION",
            durable="identity",
            database=database,
            handlers={
                SuppressionRemoved: _recording(on_suppression_removed),
                SuppressionsRolledBack: _recording(on_suppressions_rolled_back),
                SuppressionActCommitted: _recording(on_act),
            },
        ),
        Consumer(
            bus,
            stream="SENDING",
            durable="identity",
            database=database,
            handlers={
                ReputationOverridden: _recording(on_reputation_overridden),
                SendingActCommitted: _recording(on_act),
            },
        ),
        Consumer(
            bus,
            stream="MEMBER_NOTICES",
            durable="identity",
            database=database,
            handlers={NotifyMembers: on_notify_members},
        ),
        Consumer(
            bus,
            stream="WEBHOOKS",
            durable="identity",
            database=database,
            handlers={
                WebhookEndpointDisabled: _recording(on_endpoint_disabled),
                WebhookActCommitted: _recording(on_act),
            },
        ),
        Consumer(
            bus,
            stream="INTEGRATIONS",
            durable="identity",
            database=database,
            handlers={
                ConnectionNeedsAuthorization: _recording(on_connection_refused),
                IntegrationActCommitted: _recording(on_act),
            },
        ),
    ]


def identity_consumer(bus: EventBus, database: Database, erasures: Erasures) -> Consumer:
    """Reads its own stream IDENTITY, as all services do that are to erase."""
    return Consumer(
        bus,
        stream="IDENTITY",
        durable="identity",
        database=database,
        handlers={OrganizationErased: erasures.handler},
    )


def _recording(act: Callable[[Any, RequestContext, TenantSession, datetime], Awaitable[None]]) -> Handler:
    """A handler that acts on an event once, mostly by writing into the trail what was done when the event says so."""

    async def handle(event: Any, context: RequestContext, inbox: Inbox) -> None:
        async with inbox.database.tenant_transaction(context) as session:
            if await inbox.receive(session):
                await act(event, context, session, inbox.occurred_at)

    return handle


async def on_act(
    event: WebhookActCommitted | IntegrationActCommitted | SuppressionActCommitted | SendingActCommitted,
    context: RequestContext,
    session: TenantSession,
    at: datetime,
) -> None:
    """Record what a service tells of in the one form that there is for it."""
    await audit.record(
        session,
        Act(AuditedAct.Kind.Name(event.act.kind).removeprefix("KIND_").lower()),
        parse_id(event.act.target_id),
        before=_facts(event.act, "before"),
        after=_facts(event.act, "after"),
        by=_by(event.act, context),
        at=at,
    )


async def on_suppression_removed(
    event: SuppressionRemoved, context: RequestContext, session: TenantSession, at: datetime
) -> None:
    """Record who took an address off the suppression list. The address itself stays out of what is kept for good."""
    reason = SuppressionReason.Name(event.reason).removeprefix("SUPPRESSION_REASON_").lower()
    before = {"reason": reason, "email_digest": event.digest.hex()}
    await audit.record(
        session,
        Act.SUPPRESSION_REMOVED,
        parse_id(event.suppression_id),
        before=before,
        by=_by(event, context),
        at=at,
    )


async def on_suppressions_rolled_back(
    event: SuppressionsRolledBack, context: RequestContext, session: TenantSession, at: datetime
) -> None:
    """Record that an operator took what a wrong rule had put on the list off it: which mistake it was, and how many entries."""
    told = {name: getattr(event, name) or None for name in ("rule", "source", "reporter")}
    moments = {
        name: getattr(event, name).ToDatetime(tzinfo=UTC).isoformat() if event.HasField(name) else None
        for name in _MOMENTS
    }
    await audit.record(
        session,
        Act.SUPPRESSIONS_ROLLED_BACK,
        context.organization,
        after={"entries": str(event.entries)} | told | moments,
        by=replace(
            context,
            actor_kind=ActorKind(event.actor.kind),
            actor_id=event.actor.id,
            request_id=event.request_id,
        ),
        at=at,
    )


async def on_reputation_overridden(
    event: ReputationOverridden, context: RequestContext, session: TenantSession, at: datetime
) -> None:
    """Record which operator lets the organization send in spite of its reputation, until when, or no longer."""
    await audit.record(
        session,
        Act.REPUTATION_OVERRIDDEN,
        context.organization,
        before={"until": _moment(event, "before")},
        after={"until": _moment(event, "after")},
        by=_by(event, context),
        at=at,
    )


def _facts(act: AuditedAct, field: Literal["before", "after"]) -> Facts | None:
    """Raises ValueError for what has no place in the trail."""
    if not act.HasField(field):
        return None
    facts: dict[str, Any] = MessageToDict(getattr(act, field))
    for name, value in facts.items():
        if not isinstance(value, str | bool | None) and not _are_words(value):
            raise ValueError(f"{field}.{name} is neither words, a truth, nor a list of words")
    return facts


def _are_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _moment(event: ReputationOverridden, field: Literal["before", "after"]) -> str | None:
    return getattr(event, field).ToDatetime(tzinfo=UTC).isoformat() if event.HasField(field) else None


def _by(
    event: SuppressionRemoved | ReputationOverridden | AuditedAct, context: RequestContext
) -> RequestContext:
    """Whoever did it, where they did it."""
    return replace(
        context,
        actor_kind=ActorKind(event.actor.kind),
        actor_id=event.actor.id,
        role=Role(event.role),
        client_address=event.client_address,
        request_id=event.request_id,
    )
