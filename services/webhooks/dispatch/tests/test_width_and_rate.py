"""How much goes to an endpoint at a time, and how much a second."""

from services.webhooks.dispatch.rate import Rate
from services.webhooks.dispatch.width import Width


def test_an_endpoint_that_only_fails_is_tried_by_one_post_at_a_time() -> None:
    width = Width()
    for _ in range(10):
        width.failed()
    assert width.posts == 1


def test_an_endpoint_that_answers_well_gets_more_at_a_time_up_to_a_bound() -> None:
    width = Width()
    for _ in range(10_000):
        width.answered_well()
    assert width.posts == 64


def test_no_more_go_in_any_second_than_the_rate_and_one_burst_of_it() -> None:
    clock = [0.0]
    rate = Rate(10, lambda: clock[0])
    went = 0
    while clock[0] < 5:
        if rate.take():
            went += 1
        else:
            clock[0] += rate.wait()
    assert 59 <= went <= 61


def test_without_a_rate_everything_may_go() -> None:
    rate = Rate(None)
    assert all(rate.take() for _ in range(1_000))
    assert rate.wait() == 0
