"""Everything that can happen next.

A step is what nobody can see half done: a statement, a commit, a word to the relay. Between any two of them anything else may happen.
"""

from services.sending.model.aftermath import declare_dead, recover, settle_abandoned
from services.sending.model.case import Case, Steps
from services.sending.model.delivery import act
from services.sending.model.fate import befall
from services.sending.model.suppression import decide, opt_out
from services.sending.model.world import World


def steps(world: World, case: Case) -> Steps:
    """Each of them, and the world after it."""
    yield from opt_out(world, case)
    yield from decide(world, case)
    for number in range(len(world.deliveries)):
        yield from act(world, case, number)
    yield from recover(world, case)
    yield from declare_dead(world, case)
    yield from settle_abandoned(world, case)
    yield from befall(world, case)
