"""The audit trail as organizations and operators read it: whole, in order, and of nobody else."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chassis.context import PLATFORM, RequestContext, Role
from chassis.database import Database, RoleDatabase
from chassis.errors import InvalidRequest, NotFound, PermissionDenied
from chassis.identifiers import new_id
from chassis.pagination import encode_cursor
from flownurture.context.v1.context_pb2 import Actor
from flownurture.identity.v1 import admin_pb2, audit_pb2, organization_pb2
from flownurture.options.v1 import access_pb2
from services.identity import audit, audit_chain, organizations
from services.identity.audit import Act, hash_of
from services.identity.settings import IdentitySettings
from services.identity.tests import keys
from services.identity.tests.edge import Edge, Person

HERE = "203.0.113.7"


async def trail(edge: Edge, person: Person, **asked: Any) -> audit_pb2.ListAuditEventsResponse:
    """A page of the organization's trail."""
    request = audit_pb2.ListAuditEventsRequest(**asked)
    answer: audit_pb2.ListAuditEventsResponse = await edge.call(
        edge.audit.ListAuditEvents, request, person.context
    )
    return answer


async def whole_trail(edge: Edge, person: Person, size: int, **asked: Any) -> list[audit_pb2.AuditEvent]:
    """All of it, page by page."""
    found: list[audit_pb2.AuditEvent] = []
    token = ""
    while True:
        answer = await trail(edge, person, page_size=size, page_token=token, **asked)
        found += answer.audit_events
        token = answer.next_page_token
        if not token:
            return found
        assert len(answer.audit_events) == size


async def rename(edge: Edge, person: Person, name: str, **context: Any) -> None:
    """Something that is recorded."""
    request = organization_pb2.UpdateOrganizationRequest(name=name)
    await edge.call(edge.organizations.UpdateOrganization, request, replace(person.context, **context))


async def operator_of(edge: Edge, settings: IdentitySettings) -> Person:
    assert settings.super_admin_email
    return await edge.log_in(settings.super_admin_email)


async def change(edge: Edge, operator: Person, person: Person, **asked: Any) -> None:
    """What an operator does to an organization."""
    request = admin_pb2.ChangeOrganizationRequest(organization_id=person.answer.organization.id, **asked)
    await edge.call(edge.admin.ChangeOrganization, request, operator.context)


async def test_64_acts_at_once_make_one_chain_without_a_gap_or_a_fork(
    edge: Edge, settings: IdentitySettings
) -> None:
    person = await edge.sign_up()
    await asyncio.gather(*(rename(edge, person, f"Ferro {number}") for number in range(64)))
    events = await whole_trail(edge, person, 50)
    assert [event.sequence for event in events] == list(range(len(events), 0, -1))
    assert sum(event.act == Act.ORGANIZATION_RENAMED for event in events) == 64
    async with RoleDatabase(settings.database_platform_url) as database:
        theirs = UUID(person.answer.organization.id)
        assert [each async for each in audit_chain.breaks(database) if each.organization_id == theirs] == []


async def test_an_act_that_was_rolled_back_leaves_no_gap(edge: Edge, database: Database) -> None:
    person = await edge.sign_up()

    async def rename_and_fail() -> None:
        async with database.tenant_transaction(person.context) as session:
            await organizations.rename(session, "Never")
            raise NotFound("anything")

    with pytest.raises(NotFound):
        await rename_and_fail()
    await rename(edge, person, "Ever")
    events = await whole_trail(edge, person, 50)
    assert [event.sequence for event in events] == list(range(len(events), 0, -1))
    assert events[0].after["name"] == "Ever"


async def test_an_event_says_who_did_what_from_where_and_what_was_and_is(edge: Edge) -> None:
    person = await edge.sign_up(organization_name="Ferro")
    request_id = str(uuid4())
    await rename(edge, person, "Ferro & Sons", client_address=HERE, request_id=request_id)
    [event] = (await trail(edge, person, page_size=1)).audit_events
    assert (event.actor.kind, event.actor.id) == (Actor.KIND_USER, person.answer.user.id)
    assert (event.role, event.client_address) == (access_pb2.ROLE_ORG_ADMIN, HERE)
    assert (event.act, event.target_id) == (Act.ORGANIZATION_RENAMED, person.answer.organization.id)
    assert (event.before["name"], event.after["name"]) == ("Ferro", "Ferro & Sons")
    assert event.request_id == request_id
    assert event.HasField("occurred_at")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
async def test_pages_hold_each_event_once_newest_first(edge: Edge, size: int) -> None:
    person = await edge.sign_up()
    for number in range(6):
        await rename(edge, person, f"Ferro {number}")
    events = await whole_trail(edge, person, size)
    assert [event.sequence for event in events] == list(range(len(events), 0, -1))


async def test_pages_stay_in_order_when_replicas_make_ids_that_are_not(
    edge: Edge, database: Database
) -> None:
    person = await edge.sign_up()
    # A replica whose clock is behind makes lesser ids for later events.
    late, early = UUID("ffffffff-ffff-7fff-bfff-ffffffffffff"), UUID("00000000-0000-7000-8000-000000000001")
    for made in (late, early, None):
        with pytest.MonkeyPatch.context() as patch:
            if made is not None:
                patch.setattr(audit, "new_id", lambda made=made: made)
            await rename(edge, person, f"Ferro {made}")
    events = await whole_trail(edge, person, 1)
    assert [event.sequence for event in events] == list(range(len(events), 0, -1))


async def test_a_trail_is_filtered_by_act_and_by_who_did_it(edge: Edge) -> None:
    person = await edge.sign_up()
    again = await edge.log_in(person.email)
    for number in range(3):
        await rename(edge, person, f"Ferro {number}")
    await keys.create(edge, person)
    renamed = await whole_trail(edge, again, 2, act="organization_renamed")
    assert [event.act for event in renamed] == ["organization_renamed"] * 3
    theirs = await whole_trail(edge, person, 2, actor_id=person.answer.user.id)
    assert {event.actor.id for event in theirs} == {person.answer.user.id}
    assert len(theirs) >= 6
    both = await whole_trail(edge, person, 2, act="api_key_created", actor_id=person.answer.user.id)
    assert [event.act for event in both] == ["api_key_created"]
    assert await whole_trail(edge, person, 2, actor_id=str(new_id())) == []


async def test_an_act_that_there_is_not_is_refused_with_the_names_of_those_most_like_it(edge: Edge) -> None:
    person = await edge.sign_up()
    with pytest.raises(InvalidRequest) as refused:
        await trail(edge, person, act="organisation_renamed")
    [violation] = refused.value.violations
    assert violation.field == "act"
    assert violation.message.startswith(
        "is no act; those most like it are organization_renamed, organization_"
    )


@pytest.mark.parametrize("act", list(Act))
async def test_every_act_can_be_asked_for(edge: Edge, act: Act) -> None:
    person = await edge.sign_up()
    assert {event.act for event in await whole_trail(edge, person, 50, act=act)} <= {act}


async def test_the_token_of_another_trail_leads_nowhere(edge: Edge) -> None:
    person, other = await edge.sign_up(), await edge.sign_up()
    [event] = (await trail(edge, other, page_size=1)).audit_events
    assert not (await trail(edge, person, page_token=encode_cursor(UUID(event.id)))).audit_events


async def test_nobody_below_an_admin_and_no_other_organization_reads_a_trail(edge: Edge) -> None:
    person, other = await edge.sign_up(), await edge.sign_up()
    member = replace(person, context=replace(person.context, role=Role.MEMBER))
    with pytest.raises(PermissionDenied):
        await trail(edge, member)
    theirs = {event.id for event in await whole_trail(edge, person, 50)}
    assert theirs.isdisjoint(event.id for event in await whole_trail(edge, other, 50))


async def test_a_tenants_own_trail_shows_what_an_operator_did_to_it(
    edge: Edge, settings: IdentitySettings
) -> None:
    person, operator = await edge.sign_up(), await operator_of(edge, settings)
    await change(edge, operator, person, suspended=True)
    await change(edge, operator, person, suspended=False)
    resumed, suspended, *_ = (await trail(edge, person)).audit_events
    assert (suspended.act, resumed.act) == ("organization_suspended", "organization_resumed")
    for event, was in ((suspended, False), (resumed, True)):
        assert event.actor.id == operator.answer.user.id
        assert event.role == access_pb2.ROLE_SUPER_ADMIN
        assert (event.before["suspended"], event.after["suspended"]) == (was, not was)


async def test_operators_read_what_operators_did_anywhere_and_nothing_else(
    edge: Edge, settings: IdentitySettings
) -> None:
    one, other, operator = await edge.sign_up(), await edge.sign_up(), await operator_of(edge, settings)
    await rename(edge, one, "Nothing of theirs")
    await change(edge, operator, one, plan="PLAN_PRO")
    await change(edge, operator, other, suspended=True)
    asked = admin_pb2.ListPlatformAuditEventsRequest
    found: list[admin_pb2.PlatformAuditEvent] = []
    token = ""
    while (
        len(
            {each.organization_id for each in found}
            & {one.answer.organization.id, other.answer.organization.id}
        )
        < 2
    ):
        request = asked(page_size=2, page_token=token)
        page = await edge.call(edge.admin.ListPlatformAuditEvents, request, operator.context)
        found += page.audit_events
        token = page.next_page_token
        assert token
    theirs = {
        each.organization_id: each.event.act
        for each in found
        if each.organization_id in (one.answer.organization.id, other.answer.organization.id)
    }
    assert theirs == {
        one.answer.organization.id: "plan_changed",
        other.answer.organization.id: "organization_suspended",
    }
    ids = [each.event.id for each in found]
    assert ids == sorted(set(ids), reverse=True)
    everything = (
        await edge.call(edge.admin.ListPlatformAuditEvents, asked(page_size=500), operator.context)
    ).audit_events
    assert all(
        each.event.role == access_pb2.ROLE_SUPER_ADMIN
        for each in everything
        if each.HasField("organization_id")
    )
    logged_in = [each for each in everything if each.event.target_id == operator.answer.user.id]
    assert logged_in
    assert not any(each.HasField("organization_id") for each in logged_in)
    assert str(PLATFORM) not in {each.organization_id for each in everything}


async def test_nobody_but_an_operator_reads_the_platforms_trail(edge: Edge) -> None:
    person = await edge.sign_up()
    with pytest.raises(PermissionDenied):
        await edge.call(
            edge.admin.ListPlatformAuditEvents, admin_pb2.ListPlatformAuditEventsRequest(), person.context
        )


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
FACTS = st.dictionaries(TEXTS, TEXTS | st.booleans() | st.none() | st.lists(TEXTS, max_size=3), max_size=4)


@hypothesis_settings(max_examples=40, deadline=None)
@given(before=FACTS | st.none(), after=FACTS | st.none(), address=TEXTS, request_id=TEXTS)
async def test_whatever_is_recorded_is_read_as_it_was_written(
    database: Database, before: Any, after: Any, address: str, request_id: str
) -> None:
    context = replace(
        RequestContext.of_process("identity", uuid4(), request_id=request_id or "r"), client_address=address
    )
    async with database.tenant_transaction(context) as session:
        await organizations.create(session, "Ferro", now=datetime.now(UTC))
        await audit.record(
            session, Act.ORGANIZATION_RENAMED, context.organization, before=before, after=after
        )
        [event] = await audit.page(session, before=None, size=5)
    assert (event.before, event.after, event.client_address) == (before, after, address)
    assert event.is_as_written


def test_the_hash_takes_in_every_part_of_an_event() -> None:
    content = {"sequence": 1, "act": "x", "before": None, "after": {"a": ["b"]}}
    assert all(hash_of(content | {name: "other"}) != hash_of(content) for name in content)
