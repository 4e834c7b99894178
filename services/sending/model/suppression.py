"""What the suppression process does: it takes opt-outs in, and decides on the batch."""

from services.sending.model.case import Case, Steps
from services.sending.model.design import COMMIT, LOCK_LIST
from services.sending.model.world import OPEN, World


def opt_out(world: World, case: Case) -> Steps:
    """The recipient's opt-out, a step further. It waits for the lock as long as somebody holds the list still."""
    done = world.opt_out
    if len(done) == len(case.design.opt_out):
        return
    step = case.design.opt_out[len(done)]
    if step != LOCK_LIST or not world.is_held_still:
        after = world._replace(opt_out=(*done, step), on_list=world.on_list or step == COMMIT)
        yield f"the recipient's opt-out: {step}", after


def decide(world: World, case: Case) -> Steps:
    """The veto: a statement that may have seen the list before an opt-out which commits meanwhile."""
    batch, seen = world.batch, world.deciding
    if seen is not None:
        after = world._replace(deciding=None)
        if batch.status == "requested":
            messages = case.without_suppressed(world.messages, seen)
            is_open = any(message.status in OPEN for message in messages)
            decided = batch._replace(status="approved" if is_open else "settled")
            after = after._replace(messages=messages, batch=decided)
        yield "suppression: decides on the batch", after
    elif batch.status == "requested" and _is_told(world, case):
        yield "suppression: looks at the list", world._replace(deciding=world.seen)


def _is_told(world: World, case: Case) -> bool:
    return "SendsRequested" in world.events or case.design.looks_for_undecided
