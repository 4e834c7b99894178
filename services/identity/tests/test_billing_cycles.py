"""Billing cycles: every moment lies in exactly one, and each begins where the one before ends."""

from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from chassis.context import RequestContext
from chassis.secret import Secret
from chassis.stamp import Stamper, StampVerifier
from services.identity.billing_cycles import cycle_at

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(anchor=MOMENTS, moment=MOMENTS)
def test_every_moment_lies_in_its_cycle(anchor: datetime, moment: datetime) -> None:
    cycle = cycle_at(anchor, moment)
    assert cycle.started_at <= moment < cycle.ends_at
    assert timedelta(days=28) <= cycle.ends_at - cycle.started_at <= timedelta(days=31)


@given(anchor=MOMENTS, moment=MOMENTS)
def test_cycles_neither_overlap_nor_leave_a_gap(anchor: datetime, moment: datetime) -> None:
    cycle = cycle_at(anchor, moment)
    assert cycle_at(anchor, cycle.ends_at).started_at == cycle.ends_at
    assert cycle_at(anchor, cycle.started_at - timedelta(microseconds=1)).ends_at == cycle.started_at


@given(anchor=MOMENTS)
def test_a_cycle_starts_at_the_millisecond_of_the_anchor(anchor: datetime) -> None:
    started_at = cycle_at(anchor, anchor).started_at
    assert timedelta() <= anchor - started_at < timedelta(milliseconds=1)
    assert started_at.microsecond % 1000 == 0


@given(anchor=MOMENTS, moment=MOMENTS)
def test_a_signed_context_says_it_exactly(anchor: datetime, moment: datetime) -> None:
    started_at = cycle_at(anchor, moment).started_at
    context = replace(RequestContext.of_process("gateway", None), cycle_started_at=started_at)
    key = Ed25519PrivateKey.generate()
    stamper = Stamper("gateway", Secret(b64encode(key.private_bytes_raw()).decode()))
    trusted = {"gateway": b64encode(key.public_key().public_bytes_raw()).decode()}
    told = StampVerifier("sending", trusted).verify(stamper.stamp(context, "sending"))
    assert told.cycle_started_at == started_at


@pytest.mark.parametrize(
    ("moment", "start", "end"),
    [
        ("2026-02-10", "2026-01-31", "2026-02-28"),
        ("2026-03-30", "2026-02-28", "2026-03-31"),
        ("2028-03-01", "2028-02-29", "2028-03-31"),
    ],
)
def test_a_month_without_the_day_begins_on_its_last(moment: str, start: str, end: str) -> None:
    cycle = cycle_at(_day("2026-01-31"), _day(moment))
    assert (cycle.started_at, cycle.ends_at) == (_day(start), _day(end))


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
