"""Sets of workflows' mails: each one message for each effect, or refused for itself and not written."""

import asyncio
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.errors import Unavailable
from flownurture.sending.v1 import messages_pb2
from flownurture.suppression.v1 import suppressions_pb2
from flownurture.suppression.v1.events_pb2 import MessagesApproved, SendsApproved
from flownurture.workflows.v1.events_pb2 import WorkflowMailsRequested
from services.sending.statuses import SuppressionReason
from services.sending.tests.plan import CYCLE
from services.sending.tests.stepping import Stepping
from services.sending.tests.tenant import Tenant
from services.sending.usage import Allowance, EmailLimitReached
from services.sending.workflow_messages import Outcome

NAMED = {"hello": {"subject": "Hello {{ contact.first_name }}"}}


async def suppress(tenant: Tenant, email: str) -> None:
    await tenant(
        suppressions_pb2.CreateSuppressionRequest(email=email, reason=messages_pb2.SUPPRESSION_REASON_MANUAL)
    )


async def counted(tenant: Tenant) -> int:
    return sum(row.emails for row in await tenant.rows("SELECT emails FROM email_usage"))


def standing(outcome: Outcome) -> str:
    match outcome:
        case UUID():
            return "queued"
        case SuppressionReason():
            return str(outcome)
        case EmailLimitReached():
            return "beyond the plan"


async def test_a_set_is_one_batch_and_one_order_and_each_of_it_one_message(tenant: Tenant) -> None:
    stepping = await Stepping.of(tenant, **NAMED)
    sends = [stepping.to(f"p{number}@example.com", first_name=f"P{number}") for number in range(500)]
    outcomes = await stepping.send(*sends)
    rows = await tenant.rows(
        """
        SELECT message.*, effect_id, enrollment_id, workflow_id, step_id FROM messages AS message
        JOIN workflow_messages ON message_id = message.id ORDER BY message.id
        """
    )
    assert [row.id for row in rows] == outcomes
    told = [(row.effect_id, row.enrollment_id, row.workflow_id, row.step_id) for row in rows]
    assert told == [(send.effect_id, send.enrollment_id, send.workflow_id, send.step_id) for send in sends]
    assert [(row.contact_id, row.email, bytes(row.email_digest)) for row in rows] == [
        (send.contact_id, send.email, send.digest) for send in sends
    ]
    assert {(row.category, row.campaign_id, row.status) for row in rows} == {("marketing", None, "queued")}
    assert rows[7].merge_fields == {"first_name": "P7"}
    assert len({row.batch_id for row in rows}) == 1
    (order,) = await tenant.published(WorkflowMailsRequested)
    assert (order.batch_id, order.message_count) == (str(rows[0].batch_id), 500)
    assert await counted(tenant) == 500


async def test_the_same_effects_again_are_answered_with_their_messages_and_count_nothing(
    tenant: Tenant,
) -> None:
    stepping = await Stepping.of(tenant, **NAMED)
    sends = [stepping.to(f"p{number}@example.com") for number in range(3)]
    first = await stepping.send(*sends[:2])
    await suppress(tenant, sends[0].email)
    again = await stepping.send_within(Allowance(3, CYCLE), *sends)
    assert again[:2] == first
    assert standing(again[2]) == "queued"
    assert await stepping.send(*sends[:2]) == first
    assert await counted(tenant) == 3
    assert len(await tenant.published(WorkflowMailsRequested)) == 2


async def test_one_effect_taken_in_twice_at_once_is_one_message(tenant: Tenant) -> None:
    stepping = await Stepping.of(tenant, **NAMED)
    send = stepping.to("reader@example.com")
    await asyncio.gather(stepping.send(send), stepping.send(send), return_exceptions=True)
    await stepping.send(send)
    assert await tenant.statuses() == {"reader@example.com": "queued"}
    assert len(await tenant.rows("SELECT FROM messages")) == await counted(tenant) == 1


KINDS = st.lists(st.sampled_from(["free", "suppressed", "known"]), max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=KINDS, limit=st.integers(0, 12))
async def test_of_any_set_the_first_that_may_be_sent_are_as_many_as_the_plan_allows(
    tenant: Tenant, kinds: list[str], limit: int
) -> None:
    tenant.context = replace(tenant.context, organization_id=uuid4())
    stepping = await Stepping.of(tenant, **NAMED)
    sends = [stepping.to(f"{kind}{number}@example.com") for number, kind in enumerate(kinds)]
    known = [send for send in sends if send.email.startswith("known")]
    await stepping.send(*known)
    for send in sends:
        if send.email.startswith("suppressed"):
            await suppress(tenant, send.email)
    outcomes = await stepping.send_within(Allowance(len(known) + limit, CYCLE), *sends)
    free, expected = 0, []
    for kind in kinds:
        free += kind == "free"
        beyond = "queued" if free <= limit else "beyond the plan"
        expected.append({"free": beyond, "suppressed": "manual", "known": "queued"}[kind])
    assert [standing(outcome) for outcome in outcomes] == expected
    written = expected.count("queued")
    assert len(await tenant.rows("SELECT FROM messages")) == written
    assert len(await tenant.rows("SELECT FROM workflow_messages")) == written
    assert await counted(tenant) == written
    ordered = [order.message_count for order in await tenant.published(WorkflowMailsRequested)]
    assert sum(ordered) == sum(row.size for row in await tenant.rows("SELECT size FROM batches")) == written


async def test_nothing_is_guessed_when_nobody_can_tell_what_the_plan_allows(tenant: Tenant) -> None:
    stepping = await Stepping.of(tenant, **NAMED)
    with pytest.raises(Unavailable):
        await stepping.send_within(None, stepping.to("reader@example.com"))
    assert await stepping.send_within(None) == []


async def test_two_sets_at_once_do_not_pass_the_limit_together(tenant: Tenant) -> None:
    stepping = await Stepping.of(tenant, **NAMED)
    sets = [[stepping.to(f"p{part}{number}@example.com") for number in range(4)] for part in range(3)]
    outcomes = await asyncio.gather(*(stepping.send_within(Allowance(7, CYCLE), *each) for each in sets))
    assert [standing(each) for answered in outcomes for each in answered].count("queued") == 7
    assert await counted(tenant) == 7


async def test_they_are_approved_beside_campaigns_and_not_beside_single_messages(tenant: Tenant) -> None:
    stepping = await Stepping.of(tenant, **NAMED)
    await stepping.send(stepping.to("reader@example.com"))
    (batch_id,) = await tenant.approve()
    (approved,) = await tenant.published(SendsApproved)
    assert (approved.batch_id, approved.message_count) == (str(batch_id), 1)
    assert await tenant.published(MessagesApproved) == []


async def test_a_veto_gives_the_e_mail_back(tenant: Tenant) -> None:
    stepping = await Stepping.of(tenant, **NAMED)
    await stepping.send(stepping.to("reader@example.com"), stepping.to("other@example.com"))
    await suppress(tenant, "reader@example.com")
    await tenant.approve()
    assert await tenant.statuses() == {"reader@example.com": "vetoed", "other@example.com": "queued"}
    assert await counted(tenant) == 1


async def test_a_message_shows_what_its_mail_says_and_who_sends_it(tenant: Tenant) -> None:
    stepping = await Stepping.of(tenant, **NAMED)
    (message_id,) = await stepping.send(stepping.to("reader@example.com"))
    shown = await tenant(messages_pb2.GetMessageRequest(message_id=str(message_id)))
    assert (shown.from_email, shown.subject, shown.campaign_id) == (
        "ada@shop.test",
        NAMED["hello"]["subject"],
        "",
    )
