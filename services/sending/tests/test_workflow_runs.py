"""Whoever is in a workflow is led through it: in their time, by what happens and fits, with each effect once."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from chassis.database import RoleDatabase
from flownurture.contacts.v1 import events_pb2 as contacts
from flownurture.contacts.v1.segments_pb2 import OPERATOR_EQUALS
from flownurture.sending.v1 import workflows_pb2 as pb
from flownurture.sending.v1.messages_pb2 import SUPPRESSION_REASON_UNSUBSCRIBE
from flownurture.suppression.v1.events_pb2 import AddressesSuppressed, SuppressedAddress
from flownurture.workflows.v1.events_pb2 import CallEndpoints, EnrollmentsEnded, NotifyMembers
from services.sending.frequency_cap import FrequencyCap
from services.sending.identity_peer import IdentityPeer
from services.sending.quiet_hours import QuietHours
from services.sending.reputation import override
from services.sending.sending_policy import SendingPolicy, set_policy
from services.sending.statuses import SuppressionReason
from services.sending.suppression_list import Suppressed, suppress
from services.sending.tests.neighbours import Neighbour
from services.sending.tests.plan import CYCLE, Plan
from services.sending.tests.tenant import Tenant
from services.sending.tests.workflow_runs import NOON, Workflows
from services.sending.workflows.tests.drafts import (
    FORM,
    JOINS,
    LIST,
    OTHER,
    SEGMENT,
    TAG,
    branch,
    document,
    leave,
    mail,
    step,
    wait,
    wait_for,
)


@pytest.fixture
def workflows(tenant: Tenant, allowances: IdentityPeer, scheduler: RoleDatabase) -> Workflows:
    return Workflows(tenant, allowances, scheduler)


def person(name: str = "ada", **known: Any) -> Neighbour:
    return Neighbour(f"{name}@people.test", first_name=name.title(), **known)


async def mails(workflows: Workflows) -> Sequence[tuple[str, str]]:
    """To whom which step sent a mail."""
    rows = await workflows.tenant.rows("""
        SELECT message.email, told.step_id FROM workflow_messages AS told
        JOIN messages AS message ON message.id = told.message_id ORDER BY message.id
    """)
    return [(row.email, row.step_id) for row in rows]


async def test_whoever_comes_in_gets_the_mail_waits_and_gets_the_next(workflows: Workflows) -> None:
    ada = person()
    workflow_id = await workflows.start(
        document(mail("hello"), wait("pause"), mail("again"), leave("end", "done"))
    )
    await workflows.enroll(workflow_id, ada)
    await workflows.advance(workflow_id)
    assert await mails(workflows) == [(ada.email, "hello")]
    workflows.clock.move(days=1, hours=23)
    assert await workflows.advance(workflow_id) == 0
    workflows.clock.move(hours=1)
    await workflows.advance(workflow_id)
    assert await mails(workflows) == [(ada.email, "hello"), (ada.email, "again")]
    assert await workflows.ends() == {ada.id: ("exit_step", "done")}
    assert await workflows.trace(ada) == [
        ("hello", "send_email: on to pause"),
        ("pause", "waits until 2026-11-30T12:00:00Z"),
        ("pause", "the time has come: on to again"),
        ("again", "send_email: on to end"),
        ("end", "the end of the way"),
    ]
    assert await workflows.tenant.rows("SELECT * FROM enrollment_places") == []
    counts = await workflows.tenant.rows(
        "SELECT step_id, what, reason, number FROM workflow_counts ORDER BY 1, 2"
    )
    assert [tuple(count) for count in counts] == [
        ("", "enrolled", "", 1),
        ("again", "taken", "", 1),
        ("end", "exit_step", "done", 1),
        ("hello", "taken", "", 1),
        ("pause", "taken", "", 1),
    ]


async def test_a_branch_sees_what_the_step_before_it_changed(workflows: Workflows) -> None:
    ada = person()
    workflow_id = await workflows.start(
        document(
            step("mark", add_tag={"tag_id": TAG}),
            branch("marked", "yes", otherwise="no"),
            leave("no", "it was not there yet"),
            leave("yes", "it was there"),
        )
    )
    await workflows.enroll(workflow_id, ada)
    assert await workflows.advancing.advance_due(workflows.tenant.context, workflow_id, 500) == 1
    # Contacts have not carried it out yet, and say so.
    assert await workflows.advancing.advance_due(workflows.tenant.context, workflow_id, 500) == 1
    (place,) = await workflows.tenant.rows("SELECT step_id, held FROM enrollment_places")
    assert tuple(place) == ("marked", "change")
    await workflows.carry_out()
    workflows.clock.move(seconds=1)
    await workflows.advance(workflow_id)
    assert await workflows.ends() == {ada.id: ("exit_step", "it was there")}


async def test_more_rules_than_can_be_asked_at_once_are_asked_in_turn(workflows: Workflows) -> None:
    def rule(value: str) -> dict[str, Any]:
        equals = {"key": "plan", "operator": OPERATOR_EQUALS, "value": {"string_value": value}}
        return {"custom_field": equals}

    branches = [
        step(
            f"s{number}",
            branch={
                "ways": [{"rule": rule(f"{number}.{way}"), "step_id": "yes"} for way in range(10)],
                "otherwise": "no",
            },
        )
        for number in range(25)
    ]
    people = [person(f"p{number}", fields={"plan": f"{number}.{number % 12}"}) for number in range(25)]
    workflow_id = await workflows.start(
        document(wait("pause"), *branches, leave("yes", "fits"), leave("no", "fits not"))
    )
    await workflows.enroll(workflow_id, *people)
    for number, each in enumerate(people):
        await workflows.tenant.rows(
            """
            UPDATE enrollment_places SET step_id = :step FROM enrollments
            WHERE enrollments.id = enrollment_id AND contact_id = :contact
            """,
            step=f"s{number}",
            contact=each.id,
        )
    await workflows.advance(workflow_id)
    assert await workflows.ends() == {
        each.id: ("exit_step", "fits" if number % 12 < 10 else "fits not")
        for number, each in enumerate(people)
    }


async def test_changes_of_a_contact_are_ordered_one_after_another(workflows: Workflows) -> None:
    ada = person()
    workflow_id = await workflows.start(
        document(
            step("in", add_to_list={"list_id": LIST}),
            step("out", remove_from_list={"list_id": LIST}),
            step("plan", set_field={"field": {"custom_field": "plan"}, "value": {"string_value": "pro"}}),
            leave(),
        )
    )
    await workflows.enroll(workflow_id, ada)
    await workflows.advance(workflow_id)
    assert (ada.lists, ada.fields) == (set(), {"plan": "pro"})
    assert len(set(workflows.neighbours.effects)) == len(workflows.neighbours.effects) == 3


async def test_an_event_ends_the_wait_for_it_and_begins_workflows(workflows: Workflows) -> None:
    ada = person()
    workflows.neighbours.add(ada)
    submitted = {"form_submitted": {"form_id": FORM}}
    workflow_id = await workflows.start(
        document(wait_for("form", submitted, "late"), leave("soon", "in time"), leave("late", "too late"))
    )
    joined = contacts.ListJoined(list_id=LIST, contact_ids=[str(ada.id)])
    heard = await workflows.hear(joined)
    await workflows.hear(joined, heard)
    await workflows.hear(contacts.ListJoined(list_id=OTHER, contact_ids=[str(ada.id)]))
    workflows.clock.move(hours=1)
    filled_in = contacts.FormSubmitted(form_id=FORM)
    filled_in.contact.id = str(ada.id)
    await workflows.hear(filled_in)
    await workflows.advance(workflow_id)
    assert await workflows.ends() == {ada.id: ("exit_step", "in time")}
    assert (await workflows.trace(ada))[1] == ("form", "form_submitted happened: on to soon")


async def test_who_comes_into_a_segment_comes_into_the_workflow_that_begins_with_it(
    workflows: Workflows,
) -> None:
    ada, bob = person(), person("bob")
    workflows.neighbours.add(ada)
    workflows.neighbours.add(bob)
    workflow_id = await workflows.start(
        document(leave(reason="seen"), trigger={"segment_entered": {"segment_id": SEGMENT}})
    )
    await workflows.hear(contacts.SegmentEntered(segment_id=SEGMENT, contact_ids=[str(ada.id)]))
    await workflows.hear(contacts.SegmentEntered(segment_id=OTHER, contact_ids=[str(bob.id)]))
    await workflows.advance(workflow_id)
    assert await workflows.ends() == {ada.id: ("exit_step", "seen")}


async def test_who_does_not_do_it_in_time_goes_the_other_way(workflows: Workflows) -> None:
    ada = person()
    workflow_id = await workflows.start(
        document(wait_for("join", JOINS, "late"), leave("soon", "in time"), leave("late", "too late"))
    )
    await workflows.enroll(workflow_id, ada)
    await workflows.advance(workflow_id)
    workflows.clock.move(days=2)
    await workflows.advance(workflow_id)
    await workflows.hear(contacts.ListJoined(list_id=LIST, contact_ids=[str(ada.id)]))
    assert await workflows.ends() == {ada.id: ("exit_step", "too late")}


async def test_whoever_reaches_the_goal_leaves_wherever_they_are(workflows: Workflows) -> None:
    ada = person()
    workflow_id = await workflows.start(
        document(wait("pause"), mail("never"), leave(), goal={"event": {"form_submitted": {"form_id": FORM}}})
    )
    await workflows.enroll(workflow_id, ada)
    await workflows.advance(workflow_id)
    workflows.clock.move(hours=1)
    filled_in = contacts.FormSubmitted(form_id=FORM)
    filled_in.contact.id = str(ada.id)
    await workflows.hear(filled_in)
    assert await workflows.ends() == {ada.id: ("goal", "")}
    (told,) = await workflows.tenant.published(EnrollmentsEnded)
    assert [(each.contact_id, each.cause) for each in told.enrollments] == [(str(ada.id), "goal")]


async def opts_out(workflows: Workflows, who: Neighbour) -> None:
    async with workflows.tenant.database.tenant_transaction(workflows.tenant.context) as session:
        await suppress(session, [Suppressed(who.digest, SuppressionReason.UNSUBSCRIBE)])


async def test_who_opts_out_leaves_at_once_with_the_reason(workflows: Workflows) -> None:
    ada, bob = person("ada"), person("bob")
    workflow_id = await workflows.start(document(wait("pause"), mail("never"), leave()))
    await workflows.enroll(workflow_id, ada, bob)
    await workflows.advance(workflow_id)
    await opts_out(workflows, ada)
    suppressed = AddressesSuppressed(
        addresses=[SuppressedAddress(digest=ada.digest, reason=SUPPRESSION_REASON_UNSUBSCRIBE)]
    )
    await workflows.hear(suppressed)
    assert await workflows.ends() == {ada.id: ("suppressed", "unsubscribe")}


async def test_whoever_opted_out_gets_nothing_even_if_nobody_has_heard_of_it(workflows: Workflows) -> None:
    ada = person()
    workflow_id = await workflows.start(document(mail("never"), leave()))
    await workflows.enroll(workflow_id, ada)
    await opts_out(workflows, ada)
    await workflows.advance(workflow_id)
    assert await mails(workflows) == []
    assert await workflows.ends() == {ada.id: ("suppressed", "unsubscribe")}


async def test_who_opts_out_as_the_step_is_taken_leaves_without_its_mail(
    workflows: Workflows, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = person()
    workflow_id = await workflows.start(document(mail("never"), leave()))
    await workflows.enroll(workflow_id, ada)
    describe = workflows.neighbours.describe

    async def described_as_they_opt_out(*asked: Any) -> Any:
        await opts_out(workflows, ada)
        return await describe(*asked)

    monkeypatch.setattr(workflows.neighbours, "describe", described_as_they_opt_out)
    await workflows.advance(workflow_id)
    assert await mails(workflows) == []
    assert await workflows.ends() == {ada.id: ("suppressed", "unsubscribe")}


async def test_whoever_is_erased_leaves_and_their_address_is_forgotten(workflows: Workflows) -> None:
    ada = person()
    workflow_id = await workflows.start(document(wait("pause"), leave()))
    await workflows.enroll(workflow_id, ada)
    await workflows.advance(workflow_id)
    await workflows.hear(contacts.ContactsDeleted(contact_ids=[str(ada.id)], email_digests=[ada.digest]))
    assert await workflows.ends() == {ada.id: ("suppressed", "erased")}
    (row,) = await workflows.tenant.rows("SELECT email_digest FROM enrollments")
    assert row.email_digest is None


async def test_whoever_is_no_contact_any_more_leaves_at_the_next_step_that_asks(workflows: Workflows) -> None:
    ada = person()
    workflow_id = await workflows.start(document(mail("never"), leave()))
    await workflows.enroll(workflow_id, ada)
    workflows.neighbours.remove(ada)
    await workflows.advance(workflow_id)
    assert await workflows.ends() == {ada.id: ("suppressed", "erased")}
    (row,) = await workflows.tenant.rows("SELECT email_digest FROM enrollments")
    assert row.email_digest is None


async def test_who_moves_to_an_address_that_refused_mail_leaves(workflows: Workflows) -> None:
    ada, other = person("ada"), person("other")
    workflow_id = await workflows.start(document(wait("pause"), leave()))
    await workflows.enroll(workflow_id, ada)
    await opts_out(workflows, other)
    ada.email = other.email
    await workflows.hear(contacts.AddressChanged(contact_id=str(ada.id), new_email_digest=other.digest))
    assert await workflows.ends() == {ada.id: ("suppressed", "unsubscribe")}


async def test_an_address_that_is_told_late_is_not_taken_for_the_present_one(workflows: Workflows) -> None:
    ada = person()
    workflow_id = await workflows.start(document(wait("pause"), leave()))
    await workflows.enroll(workflow_id, ada)
    for email in ("second@people.test", "third@people.test"):
        ada.email = email
    for digest in (ada.digest, person("second").digest):
        await workflows.hear(contacts.AddressChanged(contact_id=str(ada.id), new_email_digest=digest))
    (enrollment,) = await workflows.tenant.rows("SELECT email_digest FROM enrollments")
    assert bytes(enrollment.email_digest) == ada.digest


async def test_when_the_plans_mails_are_used_up_whoever_is_left_waits_before_the_step(
    workflows: Workflows, plan: Plan
) -> None:
    people = [person(f"p{number}") for number in range(5)]
    plan.allow(workflows.tenant.context.organization, 3)
    workflow_id = await workflows.start(document(mail("hello"), leave()))
    await workflows.enroll(workflow_id, *people)
    await workflows.advance(workflow_id)
    assert len(await mails(workflows)) == 3
    held = await workflows.tenant.rows("SELECT step_id, held FROM enrollment_places")
    assert [tuple(each) for each in held] == [("hello", "email_limit")] * 2
    plan.allow(workflows.tenant.context.organization, 5)
    workflows.clock.move(minutes=2)
    await workflows.advance(workflow_id)
    assert sorted(to for to, _ in await mails(workflows)) == sorted(each.email for each in people)
    (used,) = await workflows.tenant.rows("SELECT emails, cycle_started_at FROM email_usage")
    assert tuple(used) == (5, CYCLE)


async def keep_to(workflows: Workflows, policy: SendingPolicy) -> None:
    async with workflows.tenant.database.tenant_transaction(workflows.tenant.context) as session:
        await set_policy(session, policy, workflows.clock())


async def test_in_quiet_hours_no_step_sends_and_after_them_each_does(workflows: Workflows) -> None:
    ada, berlin = person(), ZoneInfo("Europe/Berlin")
    # Noon in UTC is one o'clock there.
    await keep_to(workflows, SendingPolicy(berlin, QuietHours(berlin, time(13), time(13, 30))))
    workflow_id = await workflows.start(document(wait("pause"), mail("hello"), leave()))
    await workflows.enroll(workflow_id, ada)
    await workflows.advance(workflow_id)
    workflows.clock.move(days=2)
    await workflows.advance(workflow_id)
    assert await mails(workflows) == []
    (place,) = await workflows.tenant.rows("SELECT step_id, held, wake_at FROM enrollment_places")
    assert tuple(place) == ("hello", "quiet_hours", NOON + timedelta(days=2, minutes=30))
    workflows.clock.move(minutes=30)
    await workflows.advance(workflow_id)
    assert await mails(workflows) == [(ada.email, "hello")]


async def test_workflows_together_send_an_address_no_more_than_the_cap(workflows: Workflows) -> None:
    ada = person()
    await keep_to(workflows, SendingPolicy(frequency_cap=FrequencyCap(2, 7)))
    ids = [await workflows.start(document(mail("hello"), leave())) for _ in range(3)]
    for workflow_id in ids:
        await workflows.enroll(workflow_id, ada)
        await workflows.advance(workflow_id)
    assert len(await mails(workflows)) == 2
    (place,) = await workflows.tenant.rows("SELECT step_id, held FROM enrollment_places")
    assert tuple(place) == ("hello", "frequency_cap")
    # What is waited for need not come: the cap may go first.
    await keep_to(workflows, SendingPolicy())
    workflows.clock.move(hours=1)
    await workflows.advance(ids[2])
    assert len(await mails(workflows)) == 3


async def test_a_mail_beyond_the_plan_takes_no_place_under_the_cap(workflows: Workflows, plan: Plan) -> None:
    ada = person()
    await keep_to(workflows, SendingPolicy(frequency_cap=FrequencyCap(1, 7)))
    plan.allow(workflows.tenant.context.organization, 0)
    workflow_id = await workflows.start(document(mail("hello"), leave()))
    await workflows.enroll(workflow_id, ada)
    await workflows.advance(workflow_id)
    plan.allow(workflows.tenant.context.organization, 1)
    workflows.clock.move(minutes=1)
    await workflows.advance(workflow_id)
    assert await mails(workflows) == [(ada.email, "hello")]


async def test_while_the_reputation_is_at_risk_no_step_sends_unless_an_operator_lets_it(
    workflows: Workflows,
) -> None:
    ada, tenant = person(), workflows.tenant
    await tenant.rows("""
        INSERT INTO message_counts (hour, status, messages)
        VALUES (date_trunc('hour', now()), 'sent', 9000), (date_trunc('hour', now()), 'bounced', 1000)
    """)
    workflow_id = await workflows.start(document(mail("hello"), leave()))
    await workflows.enroll(workflow_id, ada)
    await workflows.advance(workflow_id)
    (place,) = await tenant.rows("SELECT step_id, held FROM enrollment_places")
    assert tuple(place) == ("hello", "reputation")
    async with tenant.database.tenant_transaction(tenant.context) as session:
        await override(session, datetime.now(UTC) + timedelta(hours=1))
    workflows.clock.move(minutes=1)
    await workflows.advance(workflow_id)
    assert await mails(workflows) == [(ada.email, "hello")]


async def test_members_and_endpoints_are_told_by_orders(workflows: Workflows) -> None:
    workflow_id = await workflows.start(
        document(
            step("call", call_webhook={"endpoint_id": OTHER}),
            step("tell", notify_member={"user_id": OTHER, "subject": "Look", "text": "Here."}),
            leave(),
        )
    )
    people = [person("ada"), person("bob")]
    await workflows.enroll(workflow_id, *people)
    await workflows.advance(workflow_id)
    (notices,) = await workflows.tenant.published(NotifyMembers)
    (calls,) = await workflows.tenant.published(CallEndpoints)
    assert [(each.user_id, each.subject, each.text) for each in notices.notices] == [
        (OTHER, "Look", "Here.")
    ] * 2
    assert {each.contact_id for each in calls.calls} == {str(each.id) for each in people}
    ids = [each.effect_id for each in (*notices.notices, *calls.calls)]
    assert len(set(ids)) == 4


async def test_nobody_is_taken_on_while_a_workflow_is_paused(workflows: Workflows) -> None:
    ada = person()
    workflow_id = await workflows.start(document(mail("hello"), leave()))
    await workflows.enroll(workflow_id, ada)
    await workflows.tenant.rows("UPDATE workflows SET status = 'paused'")
    assert await workflows.advance(workflow_id) == 0
    await workflows.tenant.rows("UPDATE workflows SET status = 'active'")
    await workflows.advance(workflow_id)
    assert await mails(workflows) == [(ada.email, "hello")]


async def test_contacts_that_do_not_answer_keep_everything_as_it_was(workflows: Workflows) -> None:
    ada = person()
    workflow_id = await workflows.start(document(mail("hello"), leave()))
    await workflows.enroll(workflow_id, ada)
    workflows.neighbours.down = True
    await workflows.runner.look()
    await workflows.runner.settled()
    assert await workflows.trace(ada) == []
    workflows.neighbours.down = False
    await workflows.advance(workflow_id)
    assert await mails(workflows) == [(ada.email, "hello")]


async def test_one_that_fails_keeps_nobody_else(workflows: Workflows) -> None:
    people = [person(f"p{number}") for number in range(4)]
    # Of such a name no row can be written.
    people[1].first_name = "\x00"
    greeting = {"from_email": "ada@shop.test", "subject": "Hello", "text": "{{ contact.first_name }}"}
    workflow_id = await workflows.start(document(step("hello", send_email=greeting), leave()))
    await workflows.enroll(workflow_id, *people)
    await workflows.runner.look()
    await workflows.runner.settled()
    well = [each.email for each in people if each is not people[1]]
    assert sorted(to for to, _ in await mails(workflows)) == well
    (place,) = await workflows.tenant.rows("SELECT held, wake_at FROM enrollment_places")
    assert tuple(place) == ("failure", NOON + timedelta(minutes=1))


async def test_what_a_process_that_was_cut_off_did_not_commit_another_does(workflows: Workflows) -> None:
    ada = person()
    workflow_id: UUID = await workflows.start(
        document(mail("hello"), step("mark", add_tag={"tag_id": TAG}), leave())
    )
    await workflows.enroll(workflow_id, ada)
    workflows.neighbours.down = True
    for _ in range(3):
        await workflows.runner.look()
        await workflows.runner.settled()
    workflows.neighbours.down = False
    await workflows.advance(workflow_id)
    assert await mails(workflows) == [(ada.email, "hello")]
    assert len(workflows.neighbours.effects) == 1


async def test_a_runner_that_ends_begins_nothing_anew(workflows: Workflows) -> None:
    workflow_id = await workflows.start(document(mail("hello"), leave()))
    running = asyncio.create_task(workflows.runner.run())
    await asyncio.sleep(0)
    for _ in range(2):
        workflows.runner.wake(workflows.tenant.context.organization, workflow_id)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    # Whatever is still at it would have it settle later.
    async with asyncio.timeout(0):
        await workflows.runner.settled()


async def test_an_event_that_comes_again_brings_nobody_in_again(workflows: Workflows) -> None:
    ada = person()
    workflows.neighbours.add(ada)
    again = {"rule": pb.RE_ENROLLMENT_RULE_AFTER_EXIT}
    workflow_id = await workflows.start(document(leave(), re_enrollment=again))
    joined = contacts.ListJoined(list_id=LIST, contact_ids=[str(ada.id)])
    heard = await workflows.hear(joined)
    await workflows.advance(workflow_id)
    await workflows.hear(joined, heard)
    assert len(await workflows.tenant.rows("SELECT FROM enrollments")) == 1
    await workflows.hear(joined)
    assert len(await workflows.tenant.rows("SELECT FROM enrollments")) == 2
