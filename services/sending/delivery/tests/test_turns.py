"""Whose turn it is: in turn by organization, single messages before campaigns, and nobody never."""

from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.sending.delivery.turns import Claimant, Turns

claimants = st.builds(Claimant, st.sampled_from([UUID(int=number) for number in range(4)]), st.booleans())


def served(turns: Turns[Claimant], most: int) -> list[Claimant]:
    return [claimant for _ in range(most) if (claimant := turns.next(lambda _: True)) is not None]


@given(st.lists(claimants))
def test_everybody_is_served_once(waiting: list[Claimant]) -> None:
    turns: Turns[Claimant] = Turns()
    for claimant in waiting:
        turns.join(claimant, claimant)
    assert Counter(served(turns, len(waiting) + 1)) == Counter(waiting)
    assert len(turns) == 0


def test_who_waits_with_many_does_not_keep_the_others_waiting() -> None:
    turns: Turns[int] = Turns()
    crowd, one = Claimant(UUID(int=1), urgent=False), Claimant(UUID(int=2), urgent=False)
    for number in range(1_000):
        turns.join(crowd, number)
    turns.join(one, -1)
    assert -1 in [turns.next(lambda _: True) for _ in range(2)]


def test_single_messages_go_first_and_every_fourth_turn_is_a_campaigns() -> None:
    turns: Turns[Claimant] = Turns()
    single, campaign = Claimant(UUID(int=1), urgent=True), Claimant(UUID(int=2), urgent=False)
    for claimant in [campaign] * 10 + [single] * 10:
        turns.join(claimant, claimant)
    assert [claimant.urgent for claimant in served(turns, 8)] == [True, True, True, False] * 2


def test_who_may_not_is_passed_over_and_keeps_its_place() -> None:
    turns: Turns[str] = Turns()
    claimant = Claimant(UUID(int=1), urgent=False)
    for track in ("google", "others", "google"):
        turns.join(claimant, track)
    assert turns.next(lambda track: track != "google") == "others"
    assert turns.next(lambda track: track != "google") is None
    assert len(turns) == 2


@given(st.lists(claimants, min_size=1))
def test_who_leaves_is_not_served(waiting: list[Claimant]) -> None:
    turns: Turns[int] = Turns()
    for number, claimant in enumerate(waiting):
        turns.join(claimant, number)
    turns.leave(waiting[0], 0)
    turns.leave(waiting[0], 0)
    assert turns.urgent == sum(claimant.urgent for claimant in waiting[1:])
    assert 0 not in [turns.next(lambda _: True) for _ in waiting]
