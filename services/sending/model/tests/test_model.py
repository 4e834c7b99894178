"""The sending path keeps its promises in every order of events, and each of its rules is missed when it is taken out."""

from dataclasses import replace

import pytest

from services.sending.model.actions import steps
from services.sending.model.case import Case
from services.sending.model.cases import AS_BUILT, WITHOUT
from services.sending.model.design import Design
from services.sending.model.promises import NOTHING_IS_LOST, PROMISES
from services.sending.model.search import Search
from services.sending.model.world import Mishaps

OPT_OUTS, TWICE, TRUTH = PROMISES
MARKETING, SINGLE = (True,), (False,)

# What breaks first, each by its shortest trace.
BROKEN = {
    "the lock that claims take": OPT_OUTS,
    "the lock that additions take": OPT_OUTS,
    "locking before looking": OPT_OUTS,
    "the look of the claim": OPT_OUTS,
    "committing before acknowledging": OPT_OUTS,
    "holding the batch before looking": TRUTH,
    "the token of the lease": TRUTH,
    "stopping when the lease runs out": TRUTH,
    "waiting before somebody is declared dead": TRUTH,
    "the journal": TWICE,
    "noting before saying": TWICE,
    "the lock of the journal": TRUTH,
    "one hand for a batch": TRUTH,
    "leaving doubt alone": TWICE,
    "the look for undecided batches": NOTHING_IS_LOST,
    "the look for due batches": NOTHING_IS_LOST,
    "the look for the dead": NOTHING_IS_LOST,
    "the look for lost claims": NOTHING_IS_LOST,
}


@pytest.mark.parametrize("marketing", [MARKETING, SINGLE], ids=["marketing", "single"])
@pytest.mark.parametrize("mishap", Mishaps._fields)
def test_whatever_goes_wrong_once_the_promises_are_kept(mishap: str, marketing: tuple[bool, ...]) -> None:
    case = Case(marketing=marketing, mishaps=Mishaps(**{mishap: 1}))
    assert Search(case).run().broken is None


@pytest.mark.parametrize("mishap", ["lost_answers", "lost_events", "broken_connections", "deferrals"])
def test_who_opts_out_and_who_does_not_are_in_one_batch(mishap: str) -> None:
    case = Case(marketing=(True, True), to_leaver=(True, False), mishaps=Mishaps(**{mishap: 1}))
    assert Search(case).run().broken is None


@pytest.mark.parametrize("rule", WITHOUT)
def test_a_rule_that_is_taken_out_breaks_a_promise(rule: str) -> None:
    found = Search(WITHOUT[rule]).run()
    assert found.broken == BROKEN[rule]
    assert found.trace


@pytest.mark.parametrize("rule", WITHOUT)
def test_it_is_the_rule_that_was_missed(rule: str) -> None:
    assert Search(replace(WITHOUT[rule], design=Design())).run().broken is None


def test_a_trace_can_be_followed_to_the_world_that_breaks_the_promise() -> None:
    case = WITHOUT["the journal"]
    world = case.begin()
    for action in Search(case).run().trace:
        world = dict(steps(world, case))[action]
    assert not PROMISES[TWICE](world, case.marketing)


def test_every_mishap_is_in_what_make_model_searches() -> None:
    searched = [case.mishaps for case in AS_BUILT.values()]
    assert all(any(getattr(mishaps, field) for mishaps in searched) for field in Mishaps._fields)
