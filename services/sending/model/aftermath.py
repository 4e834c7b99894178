"""What others do about who is dead: read what it has left behind, declare it dead, settle what nobody can tell of."""

from collections.abc import Iterator

from services.sending.model.case import Case, Steps
from services.sending.model.world import OPEN, Remains, World


def recover(world: World, case: Case) -> Steps:
    """Whoever comes after it on the same machine settles by its journal, and clears that afterwards."""
    for left in _readable(world, case):
        if world.batch.token == left.token and not world.batch_is_held:
            rows = tuple(
                message
                if note == "nothing" or message.status not in OPEN
                else message._replace(status=case.outcome(place, "in doubt" if note == "begun" else note))
                for place, (message, note) in enumerate(zip(world.messages, left.notes, strict=True))
            )
            name = f"what the journal of lease {left.token} tells is settled"
            yield name, world._replace(messages=rows).closed()
        elif world.batch.token != left.token and left in world.remains:
            cleared = world._replace(remains=world.remains - {left}, leases=world.leases - {left.token})
            yield f"the journal of lease {left.token} is cleared", cleared


def _readable(world: World, case: Case) -> Iterator[Remains]:
    yield from world.remains
    if not case.design.journal_is_locked:
        for delivery in world.deliveries:
            if delivery.token:
                yield Remains(delivery.token, delivery.notes)


def declare_dead(world: World, case: Case) -> Steps:
    """A lease that has run out for long is taken away, and never renewed again."""
    spared = {delivery.token for delivery in world.deliveries if delivery.lease_good}
    if not case.design.spares_the_living:
        spared = set()
    for token in world.leases - spared:
        yield f"the holder of lease {token} is declared dead", world._replace(leases=world.leases - {token})


def settle_abandoned(world: World, case: Case) -> Steps:
    """All that was claimed with a lease that is gone is in doubt."""
    token = world.batch.token
    if token and token not in world.leases and case.design.looks_for_dead and not world.batch_is_held:
        rows = tuple(
            message._replace(status=case.outcome(place, "in doubt"))
            if message.status == "queued"
            else message
            for place, message in enumerate(world.messages)
        )
        yield "what the dead had claimed is settled as in doubt", world._replace(messages=rows).closed()
