"""One-off messages: by the one, by the hundred, and many at once; each accepted or refused for itself."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.errors import Conflict, DomainError, FailedPrecondition, InvalidRequest
from flownurture.sending.v1 import messages_pb2 as pb
from flownurture.sending.v1 import templates_pb2
from flownurture.sending.v1.events_pb2 import MessagesRequested
from flownurture.suppression.v1 import suppressions_pb2
from services.sending.delivery.worker import Worker
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant

NOWHERE = "01900000-0000-7000-8000-000000000000"


def letter(to: str, **fields: Any) -> pb.CreateMessageRequest:
    content = {"from_email": "ada@shop.test", "subject": "Receipt", "text": "Thank you"}
    return pb.CreateMessageRequest(to=to, **{**content, **fields})


async def send(tenant: Tenant, *letters: pb.CreateMessageRequest) -> Sequence[pb.CreateMessageResult]:
    answer = await tenant(pb.BatchCreateMessagesRequest(messages=letters))
    results: Sequence[pb.CreateMessageResult] = answer.results
    return results


async def suppress(tenant: Tenant, email: str) -> None:
    await tenant(suppressions_pb2.CreateSuppressionRequest(email=email, reason=pb.SUPPRESSION_REASON_MANUAL))


def allow(tenant: Tenant, emails: int) -> None:
    tenant.context = replace(tenant.context, limits=(("emails_per_cycle", emails),))


async def counted(tenant: Tenant) -> int:
    return sum(row.emails for row in await tenant.rows("SELECT emails FROM email_usage"))


async def template(tenant: Tenant, **fields: Any) -> str:
    content = {
        "name": "Order",
        "subject": "Order {{ variables.number }}",
        "text": "{{ 10 | divided_by: variables.number }}",
    }
    made = await tenant(templates_pb2.CreateTemplateRequest(**{**content, **fields}))
    return str(made.id)


async def test_a_batch_is_one_order_and_everybody_in_it_gets_their_mail(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    people = [f"p{number:03}@example.com" for number in range(500)]
    results = await send(tenant, *(letter(person, subject=person) for person in people))
    assert [result.message.to for result in results] == people
    assert [result.message.subject for result in results] == people
    (order,) = await tenant.published(MessagesRequested)
    assert order.message_count == 500
    assert await counted(tenant) == 500
    await tenant.deliver(worker)
    assert relay.handed_over == dict.fromkeys(people, 1)


async def test_of_a_batch_beyond_the_plan_the_first_are_accepted(tenant: Tenant) -> None:
    allow(tenant, 4)
    await tenant.message("first@example.com")
    await suppress(tenant, "p1@example.com")
    results = await send(tenant, *(letter(f"p{number}@example.com") for number in range(6)))
    assert [result.error.type for result in results] == [
        "",
        "suppressed",
        "",
        "",
        "plan-limit-exceeded",
        "plan-limit-exceeded",
    ]
    assert await counted(tenant) == 4


async def test_a_batch_of_which_nothing_is_accepted_orders_nothing(tenant: Tenant) -> None:
    await suppress(tenant, "ada@example.com")
    (result,) = await send(tenant, letter("Ada@Example.com"))
    assert (result.error.type, result.HasField("message")) == ("suppressed", False)
    assert await tenant.rows("SELECT id FROM batches") == []
    assert await tenant.published(MessagesRequested) == []
    assert await counted(tenant) == 0


async def test_what_breaks_a_bound_of_the_contract_refuses_the_whole_batch_and_says_where(
    tenant: Tenant,
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await send(tenant, letter("ada@example.com"), letter("nobody"))
    assert [violation.field for violation in refused.value.violations] == ["messages[1].to"]
    with pytest.raises(InvalidRequest):
        await send(tenant, *(letter(f"p{number}@example.com") for number in range(501)))
    assert await tenant.statuses() == {}


# What an item of a batch may be, and what becomes of it.
KINDS = {
    "good": "",
    "again": "",
    "marketing": "",
    "templated": "",
    "suppressed": "suppressed",
    "no subject": "invalid-request",
    "no body": "invalid-request",
    "no such template": "invalid-request",
    "template and body": "invalid-request",
    "bad template": "invalid-request",
    "bad data": "invalid-request",
}
FIELD_AT_FAULT = {
    "no subject": "subject",
    "no body": "html",
    "no such template": "template_id",
    "template and body": "template_id",
    "bad template": "text",
    "bad data": "html",
}


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a batch."""

    kind: str
    to: str

    def request(self, template_id: str) -> pb.CreateMessageRequest:
        """Its request; a template divides by what it is told."""
        saved = {"template_id": template_id, "text": "", "subject": ""}
        fields: dict[str, dict[str, Any]] = {
            "marketing": {"category": pb.MESSAGE_CATEGORY_MARKETING},
            "templated": saved | {"variables": {"number": 5}},
            "no subject": {"subject": ""},
            "no body": {"text": ""},
            "no such template": {"template_id": NOWHERE, "text": ""},
            "template and body": {"template_id": template_id},
            "bad template": {"text": "{{ oops", "variables": {"number": 1}},
            "bad data": saved | {"variables": {"number": 0}},
        }
        return letter(self.to, **fields.get(self.kind, {}))


def items(kinds: Sequence[str]) -> list[Item]:
    return [
        Item(
            kind,
            {"suppressed": "out@example.com", "again": "same@example.com"}.get(kind, f"p{n}@example.com"),
        )
        for n, kind in enumerate(kinds)
    ]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=30).map(items),
    places=st.integers(0, 30),
)
async def test_results_line_up_with_the_items_whatever_they_are(
    tenant: Tenant, batch: list[Item], places: int
) -> None:
    # Every example is an organization of its own.
    tenant.context = replace(tenant.context, organization_id=uuid4())
    allow(tenant, places)
    await suppress(tenant, "out@example.com")
    template_id = await template(tenant)
    results = await send(tenant, *(item.request(template_id) for item in batch))

    expected, left = [], places
    for item in batch:
        refusal = KINDS[item.kind]
        if not refusal and not left:
            refusal = "plan-limit-exceeded"
        left -= not refusal
        expected.append(refusal)
    assert [result.error.type for result in results] == expected
    for item, result in zip(batch, results, strict=True):
        assert result.HasField("message") != result.HasField("error")
        if result.HasField("message"):
            assert result.message.to == item.to
            assert result.message.subject == ("Order 5" if item.kind == "templated" else "Receipt")
        elif result.error.type == "invalid-request":
            assert {error.field for error in result.error.errors} >= {FIELD_AT_FAULT[item.kind]}
    accepted = [result.message.id for result in results if result.HasField("message")]
    assert len(set(accepted)) == len(accepted) == await counted(tenant)
    stored = await tenant.rows("SELECT id FROM messages JOIN message_contents ON message_id = id ORDER BY id")
    assert [str(row.id) for row in stored] == sorted(accepted)


async def test_a_batch_that_is_repeated_under_its_key_is_sent_once(tenant: Tenant) -> None:
    await suppress(tenant, "out@example.com")
    tenant.context = replace(tenant.context, idempotency_key="a key")
    batch = [letter("ada@example.com"), letter("out@example.com")]
    first = await send(tenant, *batch)
    assert await send(tenant, *batch) == first
    with pytest.raises(InvalidRequest) as refused:
        await send(tenant, *reversed(batch))
    assert refused.value.reason == "IDEMPOTENCY_MISMATCH"
    assert list(await tenant.statuses()) == ["ada@example.com"]


async def test_messages_that_come_at_once_share_batches_and_are_answered_each_with_its_own(
    tenant: Tenant,
) -> None:
    await suppress(tenant, "p7@example.com")
    answers = await asyncio.gather(
        *(tenant.message(f"p{number}@example.com", subject=f"S{number}") for number in range(60)),
        tenant.message("x@example.com", template_id=NOWHERE, text=""),
        return_exceptions=True,
    )
    assert isinstance(answers[7], FailedPrecondition)
    assert answers[7].reason == "SUPPRESSED"
    assert isinstance(answers[60], InvalidRequest)
    for number in set(range(60)) - {7}:
        answer = answers[number]
        assert isinstance(answer, pb.Message)
        assert (answer.to, answer.subject) == (f"p{number}@example.com", f"S{number}")
    assert len(await tenant.statuses()) == await counted(tenant) == 59
    assert len(await tenant.rows("SELECT id FROM batches")) < 59
    orders = await tenant.published(MessagesRequested)
    assert sum(order.message_count for order in orders) == 59


async def test_messages_that_come_at_once_under_one_key_are_one(tenant: Tenant) -> None:
    tenant.context = replace(tenant.context, idempotency_key="a key")
    answers = await asyncio.gather(
        *(tenant.message("ada@example.com") for _ in range(20)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, DomainError)]
    assert {(type(error), error.reason) for error in refused} <= {(Conflict, "IDEMPOTENCY_IN_FLIGHT")}
    assert len({answer.id for answer in answers if isinstance(answer, pb.Message)}) == 1
    assert len(await tenant.rows("SELECT id FROM messages")) == 1
    with pytest.raises(InvalidRequest) as mismatched:
        await tenant.message("bob@example.com")
    assert mismatched.value.reason == "IDEMPOTENCY_MISMATCH"


async def test_a_key_of_a_message_that_was_refused_may_be_used_again(tenant: Tenant) -> None:
    tenant.context = replace(tenant.context, idempotency_key="a key")
    allow(tenant, 0)
    with pytest.raises(DomainError):
        await tenant.message("ada@example.com")
    allow(tenant, 1)
    message = await tenant.message("ada@example.com")
    assert await tenant.rows("SELECT id FROM messages WHERE id = :id", id=UUID(message.id))


async def test_one_organizations_messages_are_never_taken_in_with_anothers(
    tenant: Tenant, stranger: Tenant
) -> None:
    await asyncio.gather(
        *(each.message(f"p{number}@example.com") for number in range(20) for each in (tenant, stranger))
    )
    for each in (tenant, stranger):
        assert len(await each.statuses()) == await counted(each) == 20
