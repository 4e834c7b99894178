"""The table of refusals, by the registry of enhanced codes and the words of servers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sending.bounces import Classification, Kind, classify, enhanced_code

# The registry's codes whose subject is the destination mailbox or its domain, as permanent failures.
BAD_ADDRESSES = ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.4.4"]
# All others of the registry (IANA, SMTP Enhanced Status Codes) that say more than their class or subject.
NOT_BAD = [
    *(f"5.1.{detail}" for detail in (4, 5, 7, 8, 9)),
    *(f"5.2.{detail}" for detail in (2, 3, 4)),
    *(f"5.3.{detail}" for detail in range(7)),
    *(f"5.4.{detail}" for detail in (1, 2, 3, 5, 6, 7)),
    *(f"5.6.{detail}" for detail in range(11)),
    *(f"5.7.{detail}" for detail in range(31)),
]


@pytest.mark.parametrize("code", BAD_ADDRESSES)
def test_codes_of_bad_addresses_are_hard(code: str) -> None:
    assert classify(code, 550, "no").kind is Kind.HARD


@pytest.mark.parametrize("code", NOT_BAD)
def test_every_other_registered_code_has_a_rule_and_is_not_hard(code: str) -> None:
    assert classify(code, 550, "no").kind in (Kind.SOFT, Kind.BLOCK)


@given(st.integers(0, 999), st.integers(0, 999), st.integers(400, 499), st.text(max_size=200))
def test_nothing_temporary_is_hard(subject: int, detail: int, code: int, words: str) -> None:
    assert classify(f"4.{subject}.{detail}", code, words).kind in (Kind.SOFT, Kind.BLOCK)


@given(st.integers(0, 999), st.text(max_size=200))
def test_no_words_make_a_policy_hard(detail: int, words: str) -> None:
    assert classify(f"5.7.{detail}", 550, f"user unknown {words}").kind is not Kind.HARD


def test_a_phrase_over_several_lines_of_a_reply_is_read_as_one() -> None:
    reply = "550-the email account that you tried to reach does not\r\n550-5.0.0 exist here.\r\n550 5.0.0 bye"
    assert classify("5.0.0", 550, reply) == Classification(Kind.HARD, "no_such_mailbox_in_words")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("550 5.1.1 nobody", "5.1.1"),
        ("(#5.1.1)", "5.1.1"),
        ("nobody 5.1.1.", "5.1.1"),
        ("blocked: 5.1.1.20", ""),
        ("version 15.1.1", ""),
        ("nobody", ""),
    ],
)
def test_addresses_and_versions_are_no_enhanced_codes(text: str, code: str) -> None:
    assert enhanced_code(text) == code


def test_what_nobody_knows_is_unknown() -> None:
    assert classify("", 550, "no") == Classification(Kind.UNKNOWN)
