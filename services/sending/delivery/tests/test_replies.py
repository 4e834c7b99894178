"""What replies mean, by examples that receiving servers give."""

import pytest

from services.sending.bounces import Kind
from services.sending.delivery.replies import Reply, judge
from services.sending.statuses import MessageStatus


@pytest.mark.parametrize(
    "reply",
    [
        Reply(550, "5.1.1 The email account that you tried to reach does not exist"),
        Reply(550, "5.1.10 RESOLVER.ADR.RecipientNotFound"),
        Reply(550, "5.4.4 no such domain"),
        Reply(550, "user unknown"),
        Reply(553, "sorry, no mailbox here by that name"),
    ],
)
def test_a_mailbox_that_does_not_exist_is_a_bad_address(reply: Reply) -> None:
    verdict = judge(reply, to_recipient=True, attempts=0)
    assert (verdict.status, verdict.address_is_bad) == (MessageStatus.BOUNCED, True)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(550, "5.7.1 blocked by policy"),
        Reply(550, "5.7.26 unauthenticated mail"),
        Reply(552, "5.2.2 mailbox full"),
        Reply(552, "5.3.4 message too big"),
        Reply(554, "transaction failed"),
        Reply(550, "5.1.1 refused: you are listed at dnsbl.example.org"),
        Reply(550, "no"),
    ],
)
def test_policy_size_and_full_mailboxes_are_no_bad_addresses(reply: Reply) -> None:
    verdict = judge(reply, to_recipient=True, attempts=0)
    assert (verdict.status, verdict.address_is_bad) == (MessageStatus.BOUNCED, False)


def test_a_refusal_of_our_own_address_says_nothing_about_the_recipient() -> None:
    assert not judge(Reply(550, "5.1.1 sender unknown"), to_recipient=False, attempts=0).address_is_bad


def test_what_is_refused_for_the_moment_says_something_only_once_it_is_given_up() -> None:
    def kinds(reply: Reply, *, to_recipient: bool = True) -> list[Kind | None]:
        verdicts = [judge(reply, to_recipient=to_recipient, attempts=n) for n in range(9)]
        return [verdict.classified.kind if verdict.classified else None for verdict in verdicts]

    assert kinds(Reply(451, "4.2.2 mailbox full")) == [None] * 8 + [Kind.SOFT]
    assert kinds(Reply(450, "5.1.1 no such user here, as far as we know now")) == [None] * 8 + [Kind.SOFT]
    assert kinds(Reply(421, "4.7.0 too much mail from you")) == [None] * 8 + [Kind.BLOCK]
    assert kinds(Reply(451, "4.2.2 later"), to_recipient=False) == [None] * 9


def test_pauses_grow_until_it_is_given_up() -> None:
    verdicts = [judge(Reply(451, "4.2.2 later"), to_recipient=True, attempts=n) for n in range(9)]
    pauses = [verdict.retry_after for verdict in verdicts[:-1]]
    assert pauses == sorted(pauses, key=lambda pause: pause.total_seconds() if pause else 0)
    assert verdicts[-1].status is MessageStatus.FAILED
