"""Which refusals slow a lane down, and that they slow no other."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sending.delivery.lanes import OTHERS, Lanes
from services.sending.delivery.providers import provider_of
from services.sending.delivery.replies import Reply
from services.sending.delivery.slowdowns import About, about

# As receiving servers have worded them.
REPLIES = [
    (
        "google",
        421,
        "4.7.28 [192.0.2.1 15] Gmail has detected an unusual rate of unsolicited mail originating from your IP address.",
        About.LANE,
    ),
    ("google", 450, "4.2.1 The user you are trying to contact is receiving mail too quickly.", About.MESSAGE),
    (
        "google",
        450,
        "4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages",
        About.MESSAGE,
    ),
    ("google", 421, "4.7.0 Try again later, closing connection.", About.LANE),
    (
        "yahoo",
        421,
        "4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
        About.LANE,
    ),
    ("yahoo", 451, "4.3.2 [RL01] Message temporarily deferred", About.LANE),
    (
        "microsoft",
        421,
        "RP-001 (SNT004-MC1F43) Unfortunately, some messages from 192.0.2.1 weren't sent.",
        About.LANE,
    ),
    (
        "microsoft",
        451,
        "4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. (S3150)",
        About.LANE,
    ),
    ("microsoft", 451, "4.7.500 Server busy. Please try again later", About.LANE),
    ("apple", 450, "4.7.1 [CS01] Message rejected due to local policy", About.LANE),
    ("corp.example", 450, "4.7.1 <a@corp.example>: Recipient address rejected: Greylisted", About.MESSAGE),
    ("corp.example", 451, "4.7.1 Greylisting in action, please come back later", About.MESSAGE),
    ("corp.example", 450, "4.7.1 Error: too much mail from 192.0.2.1", About.LANE),
    ("corp.example", 421, "4.7.0 mail.corp.example Error: too many connections from 192.0.2.1", About.RELAY),
    ("corp.example", 421, "Service not available", About.LANE),
    ("corp.example", 452, "4.2.2 Mailbox full", None),
    ("corp.example", 451, "4.3.0 Local error in processing", None),
]


@pytest.mark.parametrize(("provider", "code", "text", "expected"), REPLIES)
def test_a_refusal_is_about_what_its_words_say(
    provider: str, code: int, text: str, expected: About | None
) -> None:
    assert about(Reply(code, text), provider) is expected


@pytest.mark.parametrize(
    ("domain", "provider"),
    [
        ("gmail.com", "google"),
        ("GoogleMail.com", "google"),
        ("hotmail.co.uk", "microsoft"),
        ("ymail.com", "yahoo"),
        ("aol.com", "yahoo"),
        ("me.com", "apple"),
        ("Example.COM", "example.com"),
    ],
)
def test_well_known_domains_are_their_providers_and_others_their_own(domain: str, provider: str) -> None:
    assert provider_of(domain) == provider


domains = st.sampled_from(["gmail.com", "googlemail.com", "outlook.com", "yahoo.com", "a.test", "b.test"])


@given(st.lists(st.tuples(domains, st.sampled_from([250, 421, 451, 550]))))
def test_what_one_lane_is_told_changes_no_other(answers: list[tuple[str, int]]) -> None:
    together, alone = Lanes(), {domain: Lanes() for domain in {provider_of(domain) for domain, _ in answers}}
    for second, (domain, code) in enumerate(answers):
        for lanes in (together, alone[provider_of(domain)]):
            pace = lanes.to(domain).pace
            lanes.to(domain).answered(pace.begin(second), Reply(code, "slow down"), second)
    for domain, _ in answers:
        mine, theirs = together.to(domain).pace, alone[provider_of(domain)].to(domain).pace
        assert (mine.limit, mine.closed_until) == (theirs.limit, theirs.closed_until)


def test_many_refusals_on_end_slow_a_lane_down_whatever_their_words() -> None:
    lane = Lanes().to("corp.example")
    unclear = Reply(451, "4.3.0 Local error in processing")
    for _ in range(9):
        lane.answered(lane.pace.begin(0.0), unclear, 0.0)
    assert lane.pace.limit is None
    assert lane.answered(lane.pace.begin(0.0), unclear, 0.0) is About.LANE
    assert lane.pace.limit is not None
    assert lane.slowed_by == "451 4.3.0 Local error in processing"


def test_only_who_was_slowed_down_and_the_well_known_have_a_track_of_their_own() -> None:
    lanes = Lanes()
    assert [lanes.to(domain).track for domain in ("a.test", "b.test", "gmail.com")] == [
        OTHERS,
        OTHERS,
        "google",
    ]
    slowed = lanes.to("a.test")
    slowed.answered(slowed.pace.begin(0.0), Reply(421, "4.7.0 slow down"), 0.0)
    assert [lanes.to(domain).track for domain in ("a.test", "b.test")] == ["a.test", OTHERS]
    assert slowed.label == OTHERS


def test_what_is_put_back_comes_again_one_after_another() -> None:
    lane = Lanes().to("gmail.com")
    lane.answered(lane.pace.begin(0.0), Reply(421, "4.7.28 unusual rate"), 0.0)
    verdicts = [lane.put_back(0.0) for _ in range(20)]
    waits = [verdict.retry_after.total_seconds() for verdict in verdicts if verdict.retry_after]
    assert waits[0] == pytest.approx(lane.pace.closed_until)
    apart = [later - earlier for earlier, later in pairwise(waits)]
    assert apart == pytest.approx([1 / (lane.pace.limit or 0)] * 19)
    assert not any(verdict.attempted for verdict in verdicts)


def test_lanes_are_bounded() -> None:
    lanes = Lanes()
    for number in range(10_000):
        lanes.to(f"{number}.test")
    assert len(list(lanes)) < 5_000
