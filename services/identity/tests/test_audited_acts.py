"""Every act that there is gets into the trail, with who, from where and what changed, and never with a secret."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.json_format import MessageToDict

from chassis.context import PLATFORM, RequestContext
from chassis.database import Database, RoleDatabase
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.identity.v1 import audit_pb2
from services.identity import audit
from services.identity.audit import Act, AuditEvent
from services.identity.grants import Grants
from services.identity.redis_connections import redis_at
from services.identity.settings import IdentitySettings
from services.identity.tests.day import YESTERDAY, Day
from services.identity.tests.edge import Edge, Person

# What the event says was, and is; nothing where the act says it all.
CHANGES: dict[Act, tuple[set[str], set[str]]] = {
    Act.SIGNED_UP: (set(), set()),
    Act.LOGGED_IN: (set(), set()),
    Act.LOG_IN_FAILED: (set(), set()),
    Act.LOGGED_OUT: (set(), set()),
    Act.LOGGED_OUT_EVERYWHERE: (set(), set()),
    Act.SESSION_ENDED: (set(), set()),
    Act.REFRESH_REUSED: (set(), set()),
    Act.EMAIL_VERIFIED: (set(), set()),
    Act.PASSWORD_CHANGED: (set(), set()),
    Act.PASSWORD_RESET: (set(), set()),
    Act.SECOND_FACTOR_ENABLED: (set(), set()),
    Act.SECOND_FACTOR_DISABLED: (set(), set()),
    Act.RECOVERY_CODE_USED: (set(), set()),
    Act.RECOVERY_CODES_REPLACED: (set(), set()),
    Act.MEMBER_INVITED: (set(), {"email", "role"}),
    Act.INVITATION_REVOKED: ({"email"}, set()),
    Act.MEMBER_JOINED: (set(), {"role"}),
    Act.MEMBER_ROLE_CHANGED: ({"role"}, {"role"}),
    Act.MEMBER_REMOVED: ({"role"}, set()),
    Act.MEMBER_LEFT: ({"role"}, set()),
    Act.ORGANIZATION_RENAMED: ({"name"}, {"name"}),
    Act.ORGANIZATION_SUSPENDED: ({"suspended"}, {"suspended"}),
    Act.ORGANIZATION_RESUMED: ({"suspended"}, {"suspended"}),
    Act.ORGANIZATION_EXPORTED: (set(), set()),
    Act.ORGANIZATION_ERASURE_REQUESTED: (set(), {"erases_at"}),
    Act.ORGANIZATION_ERASURE_TAKEN_BACK: ({"erases_at"}, set()),
    Act.ORGANIZATION_ERASED: (set(), set()),
    Act.PLAN_CHANGED: ({"plan"}, {"plan"}),
    Act.PLAN_CHANGE_PLANNED: ({"plan"}, {"plan", "next_plan"}),
    Act.PLAN_CHANGE_TAKEN_BACK: ({"plan", "next_plan"}, {"plan"}),
    Act.API_KEY_CREATED: (set(), {"name", "prefix", "scopes"}),
    Act.API_KEY_REVOKED: ({"name", "prefix", "scopes"}, set()),
    Act.OPERATOR_ADDED: (set(), set()),
    Act.DEAD_LETTER_REPLAY_REQUESTED: (set(), {"process", "all"}),
    Act.SUPPRESSION_REMOVED: ({"reason", "email_digest"}, set()),
    Act.SUPPRESSIONS_ROLLED_BACK: (
        set(),
        {"entries", "rule", "source", "reporter", "since", "until"},
    ),
    Act.REPUTATION_OVERRIDDEN: ({"until"}, {"until"}),
    Act.WEBHOOK_ENDPOINT_CREATED: (set(), {"origin", "event_types", "enabled"}),
    Act.WEBHOOK_ENDPOINT_UPDATED: ({"event_types"}, {"event_types", "withheld"}),
    Act.WEBHOOK_ENDPOINT_ENABLED: ({"enabled"}, {"enabled"}),
    Act.WEBHOOK_ENDPOINT_DISABLED: ({"enabled"}, {"enabled"}),
    Act.WEBHOOK_ENDPOINT_DELETED: ({"origin", "event_types", "enabled"}, set()),
    Act.WEBHOOK_SECRET_ROTATED: (set(), set()),
    Act.WEBHOOK_REPLAY_REQUESTED: (set(), {"replay_id", "deliveries", "since", "until"}),
    Act.WEBHOOK_DELIVERY_REPLAY_REQUESTED: (set(), {"endpoint_id", "event_type"}),
    Act.INTEGRATION_CONNECTED: (set(), {"provider", "method", "account_id"}),
    Act.INTEGRATION_DISCONNECTED: ({"provider", "method", "account_id"}, set()),
    Act.INTEGRATION_FIELDS_MAPPED: ({"field_mappings"}, {"field_mappings"}),
    Act.COPILOT_TOOLS_USED: (set(), {"tools", "calls"}),
    Act.OPERATOR_READ: (set(), {"what"}),
}


@pytest.fixture(scope="module")
async def day(edge: Edge, database: Database, settings: IdentitySettings) -> AsyncIterator[Day]:
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(RoleDatabase(settings.database_relay_url))
        grants = Grants(await stack.enter_async_context(redis_at(settings.redis_url)))
        assert settings.super_admin_email
        operator = await edge.log_in(settings.super_admin_email)
        yield Day(edge, operator, database, relay, grants)


@pytest.fixture(scope="module")
async def owner(day: Day) -> Person:
    return await day.live()


@pytest.fixture(scope="module")
async def events(owner: Person, database: Database) -> list[AuditEvent]:
    """The organization's trail, and the operators' own."""
    found: list[AuditEvent] = []
    for organization in (UUID(owner.answer.organization.id), PLATFORM):
        context = RequestContext.of_process("identity", organization)
        async with database.tenant_transaction(context, read_only=True) as session:
            found += await audit.page(session, before=None, size=10_000)
    return found


async def test_every_act_that_there_is_gets_into_the_trail(events: list[AuditEvent]) -> None:
    assert {event.act for event in events} == set(Act) == set(CHANGES)


async def test_what_services_tell_of_has_a_name_in_the_trail() -> None:
    kinds = set(AuditedAct.Kind.keys()) - {"KIND_UNSPECIFIED"}
    assert {kind.removeprefix("KIND_").lower() for kind in kinds} <= set(Act)


async def test_every_event_says_who_from_where_and_to_whom(events: list[AuditEvent], owner: Person) -> None:
    for event in events:
        kinds = {("USER", False), ("PROCESS", True), ("ANONYMOUS", False)}
        assert (event.actor_kind, event.client_address == "") in kinds, event
        # Who fails to log in is nobody.
        assert bool(event.actor_id) == (event.act != Act.LOG_IN_FAILED)
        assert (event.actor_kind == "ANONYMOUS") == (event.act == Act.LOG_IN_FAILED)
        assert event.target_id
        assert event.request_id
    assert {event.act for event in events if event.actor_kind == "PROCESS"} <= {
        Act.OPERATOR_ADDED,
        Act.ORGANIZATION_ERASED,
        Act.SUPPRESSIONS_ROLLED_BACK,
        Act.WEBHOOK_ENDPOINT_DISABLED,
    }
    theirs = [event for event in events if event.actor_id == owner.answer.user.id]
    assert {event.role for event in theirs} == {"ORG_ADMIN"}


async def test_an_act_in_another_service_is_of_when_it_was_done(events: list[AuditEvent]) -> None:
    elsewhere = {Act.SUPPRESSION_REMOVED, Act.SUPPRESSIONS_ROLLED_BACK, Act.REPUTATION_OVERRIDDEN}
    elsewhere.add(Act.OPERATOR_READ)
    elsewhere |= {act for act in Act if act.startswith(("webhook_", "integration_", "copilot_"))}
    assert {event.act for event in events if event.occurred_at <= YESTERDAY} == elsewhere


async def test_every_event_says_what_was_and_what_is(events: list[AuditEvent]) -> None:
    for event in events:
        before, after = CHANGES[Act(event.act)]
        if event.act == Act.DEAD_LETTER_REPLAY_REQUESTED and "dead_letter_ids" in (event.after or ()):
            after = {"process", "dead_letter_ids"}
        if event.act == Act.WEBHOOK_ENDPOINT_DISABLED and event.actor_kind == "PROCESS":
            after = {"enabled", "reason"}
        if event.act == Act.OPERATOR_READ and (event.after or {})["what"] == "suppressions":
            after = {"what", "suppression_ids"}
        assert (set(event.before or ()), set(event.after or ())) == (before, after), event


async def test_no_secret_is_in_the_trail_or_in_what_clients_read_of_it(
    events: list[AuditEvent], owner: Person, day: Day
) -> None:
    answer = await day.edge.call(
        day.edge.audit.ListAuditEvents, audit_pb2.ListAuditEventsRequest(page_size=500), owner.context
    )
    read: Any = json.dumps(MessageToDict(answer))
    assert len(day.secrets) > 40
    for secret in day.secrets:
        assert secret not in str(events)
        assert secret not in read
