"""What goes wrong, as far as it still may."""

from services.sending.model.case import Case, Steps
from services.sending.model.design import ACKNOWLEDGE
from services.sending.model.world import Remains, World


def befall(world: World, case: Case) -> Steps:
    """Processes die or are held up, and events are lost. What answers and connections do stands where they would come."""
    for number, delivery in enumerate(world.deliveries):
        if delivery.token:
            yield from _befall_delivery(world, number, f"delivery {number + 1}")
    if mishaps := world.mishaps.less("lost_events"):
        for event in world.events:
            yield f"{event} is lost", world._replace(events=world.events - {event}, mishaps=mishaps)
    if mishaps := world.mishaps.less("suppression_deaths"):
        # What had not committed is undone, and what was not acknowledged is asked for again.
        opt_out = case.design.opt_out if ACKNOWLEDGE in world.opt_out else ()
        died = world._replace(deciding=None, opt_out=opt_out, mishaps=mishaps)
        yield "suppression: is killed", died


def _befall_delivery(world: World, number: int, who: str) -> Steps:
    delivery = world.deliveries[number]
    died = world.with_delivery(number, delivery.gone())
    if mishaps := world.mishaps.less("deaths"):
        remains = world.remains | {Remains(delivery.token, delivery.notes)}
        yield f"{who}: is killed", died._replace(remains=remains, mishaps=mishaps)
    if mishaps := world.mishaps.less("losses_of_machine"):
        yield f"{who}: its machine is lost", died._replace(mishaps=mishaps)
    if delivery.lease_good and (mishaps := world.mishaps.less("stalls")):
        stalled = world.with_delivery(number, delivery._replace(lease_good=False))
        yield f"{who}: is held up until its lease runs out", stalled._replace(mishaps=mishaps)
