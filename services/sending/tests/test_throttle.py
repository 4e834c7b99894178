"""A throttled campaign never goes faster than it may, and no slower where it is looked at in time."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.sending.dispatch import release
from services.sending.tests.tenant import Tenant
from services.sending.throttle import MOST_LATE, Throttle

START = datetime(2026, 12, 1, tzinfo=UTC)
RATES = st.integers(1, 100_000_000)


def released(throttle: Throttle, size: int, looks: list[timedelta]) -> list[tuple[datetime, int]]:
    """When how many messages went, of batches without end, looked at after each of these pauses."""
    free_at = now = START
    told = []
    for pause in [timedelta(0), *looks]:
        now += pause
        admitted, free_at = throttle.admit([size] * 16, free_at=free_at, now=now)
        told.append((now, admitted * size))
    return told


@given(
    RATES,
    st.integers(1, 250),
    st.lists(st.timedeltas(timedelta(0), timedelta(minutes=10)), max_size=30),
)
def test_no_stretch_of_time_sees_more_than_it_is_worth_and_one_batch(
    per_hour: int, wished: int, looks: list[timedelta]
) -> None:
    throttle = Throttle(per_hour)
    size = min(wished, throttle.largest_batch)
    told = released(throttle, size, looks)
    for first, (begin, _) in enumerate(told):
        went = 0
        for end, messages in told[first:]:
            went += messages
            worth = per_hour * ((end - begin + MOST_LATE) / timedelta(hours=1))
            # A microsecond a batch is what times are rounded by.
            assert went <= worth + size + per_hour / 3.6e9 * 16 * (len(looks) + 1)


@given(
    st.integers(1, 1_000_000),
    st.lists(st.timedeltas(timedelta(0), MOST_LATE), min_size=1, max_size=50),
)
def test_looked_at_in_time_it_goes_as_fast_as_it_may(per_hour: int, looks: list[timedelta]) -> None:
    throttle = Throttle(per_hour)
    size = min(250, throttle.largest_batch)
    told = released(throttle, size, looks)
    worth = per_hour * ((told[-1][0] - START) / timedelta(hours=1))
    assert sum(messages for _, messages in told) >= worth - size - 1


@given(RATES)
def test_a_batch_is_no_more_than_a_minute_allows(per_hour: int) -> None:
    assert Throttle(per_hour).largest_batch == max(1, per_hour // 60)


async def test_a_slow_campaign_goes_message_by_message(tenant: Tenant) -> None:
    campaign = await tenant.launch(
        *(f"reader{number}@example.com" for number in range(6)), messages_per_hour=60
    )

    async def let_go() -> int:
        async with tenant.database.tenant_transaction(tenant.context) as session:
            return await release(session, UUID(campaign))

    assert [await let_go() for _ in range(3)] == [1, 0, 0]
    assert (await tenant.report(campaign)).released == 1
    for _ in range(2):
        # As if a minute had passed.
        await tenant.rows("UPDATE campaigns SET next_release_at = next_release_at - interval '1 minute'")
        assert [await let_go() for _ in range(2)] == [1, 0]
    # And what was missed for an hour is not made up for.
    await tenant.rows("UPDATE campaigns SET next_release_at = now() - interval '1 hour'")
    assert [await let_go() for _ in range(2)] == [1, 0]
