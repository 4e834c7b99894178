"""An operator sees where a message is and how it came there, from the rows that there are, and its organization sees that they looked."""

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from chassis.context import Role
from chassis.errors import NotFound, PermissionDenied
from chassis.identifiers import new_id
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.sending.v1 import campaigns_pb2, messages_pb2
from flownurture.sending.v1 import message_traces_pb2 as pb
from flownurture.sending.v1.events_pb2 import SendingActCommitted
from services.sending.bounces import Kind
from services.sending.delivery.claims import claim
from services.sending.delivery.worker import Worker
from services.sending.feedback.effects import Told, take_effect
from services.sending.feedback.understanding import Finding, Shape
from services.sending.tests.reader import PLUMS, letter
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant
from services.sending.tests.test_veto import suppression_of

READER = "reader@example.com"


async def trace(tenant: Tenant, message_id: object = None) -> pb.MessageTrace:
    """Of the organization's only message, unless another is meant."""
    if message_id is None:
        ((message_id,),) = await tenant.rows("SELECT id FROM messages")
    found: pb.MessageTrace = await tenant.as_operator(
        pb.GetMessageTraceRequest(
            organization_id=str(tenant.context.organization), message_id=str(message_id)
        )
    )
    return found


def stages(found: pb.MessageTrace) -> list[str]:
    return [
        pb.MessageStage.Name(entry.stage).removeprefix("MESSAGE_STAGE_").lower() for entry in found.entries
    ]


def details(found: pb.MessageTrace) -> dict[str, str]:
    """What is said of each stage, of several the last."""
    return dict(zip(stages(found), [entry.detail for entry in found.entries], strict=True))


def times(found: pb.MessageTrace) -> Sequence[Any]:
    return [entry.at.ToNanoseconds() for entry in found.entries if entry.HasField("at")]


async def test_a_campaigns_message_is_followed_from_its_campaign_to_what_its_recipient_does(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    mail = await letter(tenant, worker, relay)
    await mail.later()
    await mail.open(head_only=True)
    await mail.click()
    await mail.judged(2)
    complaint = Finding(Shape.ARF, Kind.COMPLAINT, rule="arf_abuse", reporter="mailbox.test")
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await take_effect(session, [Told(tenant.context.organization, mail.message_id, complaint, new_id())])
    # As `later` has it, it was handed over before it was claimed.
    await tenant.rows("UPDATE messages SET settled_at = settled_at + interval '1 hour'")
    found = await trace(tenant)
    assert stages(found) == [
        *("gathered", "released", "approved", "claimed", "handed_over"),
        *("opened", "clicked", "complained"),
    ]
    assert times(found) == sorted(times(found))
    assert [entry.HasField("at") for entry in found.entries] == [True, False, *[True] * 6]
    told = details(found)
    assert told["gathered"] == f"by campaign {found.campaign_id}" == f"by campaign {mail.campaign_id}"
    assert told["approved"] == told["claimed"] == "by version 0 of the list"
    assert told["handed_over"] == "250 2.0.0 OK"
    assert (told["opened"], told["clicked"]) == ("by a program: head_only", "link 1")
    assert told["complained"] == "complaint, rule arf_abuse, told by arf of mailbox.test"
    assert (found.status, found.attempts) == (messages_pb2.MESSAGE_STATUS_SENT, 1)


async def test_nothing_of_a_mail_is_shown_and_not_who_gets_it(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    mail = await letter(tenant, worker, relay, subject="Plums are ripe")
    await mail.click()
    await mail.judged(1)
    found = str(MessageToDict(await trace(tenant)))
    for private in (READER, PLUMS, "Plums are ripe", "ada@shop.test"):
        assert private not in found


async def test_a_message_that_waits_shows_where_and_what_for(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def not_now(_: str) -> str:
        return "451 4.7.1 Come back later"

    relay.on_recipient = not_now
    created = await tenant.message(READER)
    accepted = await trace(tenant)
    assert stages(accepted) == ["accepted", "released"]
    assert len(times(accepted)) == 2
    await tenant.approve()
    approved = await trace(tenant)
    assert stages(approved) == ["accepted", "released", "approved"]
    assert approved.status == messages_pb2.MESSAGE_STATUS_APPROVED
    await tenant.deliver(worker)
    deferred = await trace(tenant, created.id)
    assert stages(deferred) == ["accepted", "released", "approved", "claimed", "deferred"]
    assert "4.7.1 Come back later" in details(deferred)["deferred"]
    assert (deferred.status, deferred.attempts) == (messages_pb2.MESSAGE_STATUS_DEFERRED, 1)
    assert deferred.next_attempt_at.ToNanoseconds() > times(deferred)[-1]


async def test_a_campaigns_message_that_is_held_was_not_released(tenant: Tenant) -> None:
    await tenant.launch(READER)
    assert stages(await trace(tenant)) == ["gathered"]
    await tenant.release()
    assert stages(await trace(tenant)) == ["gathered", "released"]


async def test_a_refusal_shows_as_what_it_was_understood_by_which_rule(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def nobody(_: str) -> str:
        return "550 5.1.1 <Reader@Example.com>: no such user"

    relay.on_recipient = nobody
    await tenant.message(READER)
    await tenant.deliver(worker)
    found = await trace(tenant)
    assert stages(found)[-2:] == ["bounced", "classified"]
    told = details(found)
    assert told["bounced"] == "550 5.1.1 <…>: no such user"
    assert told["classified"] == "hard, rule bad_mailbox, 5.1.1, told by smtp"


async def test_why_a_message_does_not_go_shows_by_which_list_and_at_which_gate(tenant: Tenant) -> None:
    await tenant(suppression_of(READER))
    await tenant.launch(READER, "late@example.com")
    (batch,) = await tenant.approve()
    await tenant(suppression_of("late@example.com"))
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await claim(session, [batch], new_id())
    ids = {row.email: row.id for row in await tenant.rows("SELECT email, id FROM messages")}
    early, late = await trace(tenant, ids[READER]), await trace(tenant, ids["late@example.com"])
    assert stages(early) == ["gathered", "released", "vetoed"]
    assert details(early)["vetoed"] == "manual, by version 1 of the list"
    assert stages(late) == ["gathered", "released", "approved", "vetoed"]
    assert details(late)["vetoed"] == "manual, by version 2 of the list, as it was claimed"


async def test_what_was_in_doubt_and_is_sent_again_shows_both_ways(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    async def breaks_for_one(recipient: str) -> str | None:
        return None if recipient == READER else "250 OK"

    accepts, relay.on_message = relay.on_message, breaks_for_one
    campaign = await tenant.launch("first@example.com", READER)
    await tenant.deliver(worker)
    ((doubted,),) = await tenant.rows("SELECT id FROM messages WHERE email = :email", email=READER)
    assert stages(await trace(tenant, doubted))[-1] == "in_doubt"
    relay.on_message = accepts
    await tenant(campaigns_pb2.RetryIndeterminateRequest(campaign_id=campaign))
    await tenant.deliver(worker)
    assert stages(await trace(tenant, doubted)) == [
        *("gathered", "released", "approved", "claimed", "in_doubt"),
        *("queued_again", "released", "approved", "claimed", "handed_over"),
    ]


async def test_what_the_plan_keeps_no_longer_is_told_by_what_is_left(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    mail = await letter(tenant, worker, relay)
    await mail.later()
    await mail.click()
    await mail.judged(1)
    await tenant.rows("UPDATE messages SET settled_at = settled_at + interval '1 hour'")
    before = await trace(tenant)
    for forgotten in ("decisions", "engagement_events"):
        await tenant.rows(f"DELETE FROM {forgotten}")
    after = await trace(tenant)
    assert stages(before) == ["gathered", "released", "approved", "claimed", "handed_over", "clicked"]
    assert stages(after) == ["gathered", "released", "approved", "handed_over", "clicked"]
    assert (before.entries[2].at, before.entries[-1]) == (after.entries[2].at, after.entries[-1])


async def test_a_message_of_another_organization_is_nowhere_and_nobody_is_told(
    tenant: Tenant, stranger: Tenant
) -> None:
    theirs = await stranger.message(READER)
    for nowhere in (theirs.id, new_id()):
        with pytest.raises(NotFound):
            await trace(tenant, nowhere)
    assert await tenant.published(SendingActCommitted) == []


async def test_that_an_operator_looked_at_a_message_is_told_to_its_organizations_trail(
    tenant: Tenant,
) -> None:
    message = await tenant.message(READER)
    await trace(tenant)
    (event,) = await tenant.published(SendingActCommitted)
    told = event.act
    assert (told.kind, told.target_id) == (AuditedAct.KIND_OPERATOR_READ, message.id)
    assert (told.actor.id, told.role) == (tenant.context.actor_id, Role.SUPER_ADMIN.value)
    assert MessageToDict(told.after) == {"what": "message_trace"}


async def test_nobody_but_an_operator_follows_a_message(tenant: Tenant) -> None:
    message = await tenant.message(READER)
    with pytest.raises(PermissionDenied):
        await tenant(
            pb.GetMessageTraceRequest(organization_id=str(tenant.context.organization), message_id=message.id)
        )
