"""A part of the audience gets the campaign under several subjects, the rest under the one that did best."""

from collections import Counter
from datetime import timedelta
from email import message_from_bytes, policy
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Conflict, InvalidRequest, NotFound
from flownurture.sending.v1 import campaigns_pb2 as pb
from services.sending.delivery.worker import Worker
from services.sending.dispatch import release
from services.sending.subject_tests import SubjectTest, VariantResult, WinnerRule, winner_of
from services.sending.tests.relay import MailRelay
from services.sending.tests.tenant import Tenant

READERS = [f"reader{number:03}@example.com" for number in range(100)]
RESULTS = st.lists(
    st.integers(1, 1_000).flatmap(lambda sent: st.tuples(st.just(sent), st.integers(0, sent))), max_size=5
)


def trial(
    *subjects: str, percent: int = 20, minutes: int = 60, rule: Any = pb.WINNER_RULE_OPENS
) -> pb.SubjectTest:
    return pb.SubjectTest(other_subjects=subjects, share_percent=percent, wait_minutes=minutes, rule=rule)


@given(st.integers(1, 4), st.integers(1, 50), st.integers(0, 5_000))
def test_a_test_has_its_share_of_any_audience_evenly_and_its_variants_in_turn(
    others: int, percent: int, audience: int
) -> None:
    test = SubjectTest(("?",) * others, percent, timedelta(hours=1), WinnerRule.OPENS)
    variants = [test.variant_at(place) for place in range(audience)]
    tried = Counter(variant for variant in variants if variant is not None)
    assert tried.total() == audience * percent // 100
    counts = [tried[variant] for variant in test.variants]
    assert max(counts) - min(counts) <= 1
    # Nowhere are more than its share of those who stand side by side, but for one.
    for begin in range(0, audience, 97):
        side_by_side = variants[begin : begin + 100]
        assert len(side_by_side) - side_by_side.count(None) <= percent + 1


@given(RESULTS, st.sampled_from(WinnerRule))
def test_nobody_did_better_than_the_winner_and_none_before_it_as_well(
    done: list[tuple[int, int]], rule: WinnerRule
) -> None:
    results = [VariantResult(number, sent, some, some) for number, (sent, some) in enumerate(done, 1)]
    winner = winner_of(results, rule)
    rates = {result.variant: result.opens / result.sent for result in results}
    assert all(rate <= rates[winner] for rate in rates.values())
    assert all(rate < rates[winner] or not rate for variant, rate in rates.items() if variant < winner)


async def let_go(tenant: Tenant, campaign: str) -> int:
    async with tenant.database.tenant_transaction(tenant.context) as session:
        return await release(session, UUID(campaign))


async def open_mails_of(tenant: Tenant, variant: int, number: int) -> None:
    """As if so many of those who got a variant had opened it."""
    await tenant.rows(
        """
        INSERT INTO first_engagements (message_id, kind, link_number, campaign_id, occurred_at)
        SELECT id, 'opened', 0, campaign_id, now() FROM messages WHERE variant = :variant ORDER BY id LIMIT :number
        """,
        variant=variant,
        number=number,
    )


def subjects_of(relay: MailRelay) -> Counter[str]:
    return Counter(
        str(message_from_bytes(content, policy=policy.default)["subject"]) for _, content in relay.accepted
    )


async def test_the_rest_waits_and_gets_the_subject_that_was_opened_most(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    campaign = await tenant.launch(*READERS, subject="A", subject_test=trial("B", "{{ contact.email }}"))
    await tenant.deliver(worker)
    assert relay.handed_over.total() == 20
    assert subjects_of(relay)["A"] == subjects_of(relay)["B"] == 7
    await open_mails_of(tenant, 1, 2)
    await open_mails_of(tenant, 2, 3)

    # The wait begins, and the rest stays.
    assert [await let_go(tenant, campaign) for _ in range(2)] == [0, 0]
    report = await tenant.report(campaign)
    assert (report.released, report.winner) == (20, 0)
    assert [(v.variant, v.sent, v.opens) for v in report.variants] == [(1, 7, 2), (2, 7, 3), (3, 6, 0)]
    await tenant.rows("UPDATE campaigns SET test_ends_at = now(), next_release_at = now()")
    await tenant.deliver(worker)
    assert relay.handed_over == dict.fromkeys(READERS, 1)
    assert (subjects_of(relay)["A"], subjects_of(relay)["B"]) == (7, 87)
    assert (await tenant.report(campaign)).winner == 2
    listed = await tenant(pb.ListCampaignMessagesRequest(campaign_id=campaign, page_size=500))
    assert Counter(message.subject for message in listed.messages)["B"] == 87


async def test_without_anything_to_go_by_the_campaigns_own_subject_wins(
    tenant: Tenant, worker: Worker, relay: MailRelay
) -> None:
    campaign = await tenant.launch("reader@example.com", subject="A", subject_test=trial("B"))
    # One is no audience to test on: nothing is waited for.
    assert [await let_go(tenant, campaign) for _ in range(2)] == [0, 1]
    await tenant.deliver(worker)
    assert subjects_of(relay) == {"A": 1}


async def test_a_winner_can_be_chosen_early_and_once(
    tenant: Tenant, stranger: Tenant, worker: Worker, relay: MailRelay
) -> None:
    campaign = await tenant.launch(*READERS, subject="A", subject_test=trial("B"))
    with pytest.raises(NotFound):
        await stranger(pb.ChooseWinnerRequest(campaign_id=campaign, variant=2))
    with pytest.raises(InvalidRequest):
        await tenant(pb.ChooseWinnerRequest(campaign_id=campaign, variant=3))
    for _ in range(2):
        chosen = await tenant(pb.ChooseWinnerRequest(campaign_id=campaign, variant=2))
        assert chosen.winner == 2
    with pytest.raises(Conflict, match="won"):
        await tenant(pb.ChooseWinnerRequest(campaign_id=campaign, variant=1))
    await tenant.deliver(worker)
    assert subjects_of(relay) == {"A": 10, "B": 90}
    plain = await tenant.launch("other@example.com")
    with pytest.raises(Conflict):
        await tenant(pb.ChooseWinnerRequest(campaign_id=plain, variant=1))


async def test_what_is_tested_is_checked_as_the_subject_is(tenant: Tenant) -> None:
    cases: list[tuple[pb.SubjectTest, dict[str, Any]]] = [
        (trial("{{ contact.nme }}"), {}),
        (trial("B"), {"track_opens": False}),
        (pb.SubjectTest(other_subjects=["B"], share_percent=20, wait_minutes=60), {}),
    ]
    for test, fields in cases:
        with pytest.raises(InvalidRequest) as refused:
            await tenant.draft("reader@example.com", subject_test=test, **fields)
        assert refused.value.violations[0].field.startswith("subject_test")
    draft = await tenant.draft("reader@example.com", subject_test=trial("B"))
    with pytest.raises(InvalidRequest):
        await tenant(pb.UpdateCampaignRequest(campaign_id=draft.id, track_opens=False))
    untested = await tenant(pb.UpdateCampaignRequest(campaign_id=draft.id, subject_test=pb.SubjectTest()))
    assert not untested.HasField("subject_test")
