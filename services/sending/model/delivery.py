"""What a delivery process does: it claims, hands over, records what was answered, gives back, and sees to its lease."""

from services.sending.model.case import Case, Steps
from services.sending.model.design import ACKNOWLEDGE, HOLD_BATCH, LOCK_LIST, LOOK, NOTE
from services.sending.model.world import OPEN, UNWRITTEN, Delivery, Hand, Message, Status, World


def act(world: World, case: Case, number: int) -> Steps:
    """Whatever one of them may do next."""
    delivery = world.deliveries[number]
    who = f"delivery {number + 1}"
    if delivery.claim or _may_claim(world, case, delivery):
        yield from _claim(world, case, number, f"{who}: claim")
    for place in range(len(world.messages)):
        yield from _hand_over(world, case, number, place, f"{who}: message {place + 1}")
    if delivery.in_hand and not world.batch_is_held:
        yield from _record(world, case, number, who)
    yield from _see_to_lease(world, case, number, who)


def _may_claim(world: World, case: Case, delivery: Delivery) -> bool:
    """On an event, which may be old and come again, or since the batch is due."""
    return (
        delivery.token > 0
        and delivery.lease_good
        and world.batch.status == "approved"
        and not (delivery.in_hand and case.design.batch_is_in_one_hand)
        and ("SendsApproved" in world.events or case.design.looks_for_due)
    )


def _claim(world: World, case: Case, number: int, name: str) -> Steps:
    """The transaction of a claim, a step further."""
    delivery = world.deliveries[number]
    step = case.design.claim[len(delivery.claim)]
    onward = delivery._replace(claim=(*delivery.claim, step))
    if step == LOCK_LIST:
        if not world.is_being_added_to:
            yield f"{name}: {step}", world.with_delivery(number, onward)
    elif step == HOLD_BATCH:
        if not world.batch_is_held:
            yield f"{name}: {step}", world.with_delivery(number, onward)
    elif step == LOOK:
        yield f"{name}: {step}", world.with_delivery(number, onward._replace(seen=world.seen))
    else:
        yield from _lease(world, case, number, f"{name}: {step}")


def _lease(world: World, case: Case, number: int, name: str) -> Steps:
    """The end of the claim: it commits what it has seen, if the batch is still to be had."""
    delivery = world.deliveries[number]
    ended = delivery._replace(claim=(), seen=None)
    if delivery.seen is None or world.batch.status != "approved" or world.batch.token:
        yield f"{name}, but there is none to be had", world.with_delivery(number, ended)
        return
    messages = world.messages
    if case.design.claim_vetoes:
        messages = case.without_suppressed(messages, delivery.seen)
    claimed = tuple(
        status in OPEN and message.status != "vetoed"
        for message, status in zip(messages, delivery.seen.statuses, strict=True)
    )
    acknowledged = ACKNOWLEDGE in world.opt_out
    rows = tuple(
        _claimed(message, late=to_leaver and acknowledged) if is_claimed else message
        for message, is_claimed, to_leaver in zip(messages, claimed, case.to_leaver, strict=True)
    )
    hand: tuple[Hand, ...] = tuple("waiting" if is_claimed else "nothing" for is_claimed in claimed)
    after = world._replace(messages=rows, batch=world.batch._replace(token=delivery.token))
    yield name, after.with_delivery(number, ended._replace(hand=hand, hand_token=delivery.token))
    if mishaps := world.mishaps.less("lost_answers"):
        yield f"{name}, and hears nothing of it", after.with_delivery(number, ended)._replace(mishaps=mishaps)


def _claimed(message: Message, *, late: bool) -> Message:
    # What was deferred and is claimed was due before the lease began, as what was never tried.
    status: Status = "queued" if message.status == "deferred" else message.status
    return message._replace(status=status, claimed_after_opt_out=message.claimed_after_opt_out or late)


def _hand_over(world: World, case: Case, number: int, place: int, who: str) -> Steps:
    """A message is begun, or left since it is recalled or the relay takes none; what was said is answered, or its connection breaks."""
    delivery = world.deliveries[number]
    state = delivery.hand[place]
    if state == "waiting":
        yield f"{who}: is recalled or left", world.with_delivery(number, delivery.with_hand(place, "nothing"))
        good = delivery.lease_good and delivery.token == delivery.hand_token
        if good or not case.design.begins_with_a_good_lease:
            yield from _begin(world, case, number, place, who)
    elif state == "noted":
        yield from _say(world, number, place, who)
    elif state in ("said, taken", "said, not taken"):
        yield from _hear(world, case, number, place, who)


def _begin(world: World, case: Case, number: int, place: int, who: str) -> Steps:
    message, delivery = world.messages[place], world.deliveries[number]
    late = message.begun_after_its_end or message.status not in OPEN
    begun = world.with_message(place, message._replace(begun_after_its_end=late))
    if case.design.begin[0] == NOTE:
        noted = delivery.with_hand(place, "noted").with_note(place, "begun")
        yield f"{who}: is noted", begun.with_delivery(number, noted)
    else:
        yield from _say(begun, number, place, who)


def _say(world: World, number: int, place: int, who: str) -> Steps:
    message, delivery = world.messages[place], world.deliveries[number]
    taken = world.with_message(place, message._replace(handed_over=message.handed_over + 1))
    yield f"{who}: is said, and taken", taken.with_delivery(number, delivery.with_hand(place, "said, taken"))
    if mishaps := world.mishaps.less("deferrals"):
        refused = world.with_delivery(number, delivery.with_hand(place, "said, not taken"))
        yield f"{who}: is said, and not taken", refused._replace(mishaps=mishaps)


def _hear(world: World, case: Case, number: int, place: int, who: str) -> Steps:
    delivery = world.deliveries[number]
    if mishaps := world.mishaps.less("broken_connections"):
        broken = world.with_delivery(number, delivery.with_hand(place, "in doubt"))
        yield f"{who}: its connection breaks", broken._replace(mishaps=mishaps)
    if delivery.hand[place] == "said, taken":
        name, told = "is answered: taken", delivery.with_hand(place, "sent")
        noted = told.with_note(place, "sent")
    else:
        name, told = "is answered: later", delivery.with_hand(place, "put off")
        noted = told.with_note(place, "put off")
    keeps_journal = NOTE in case.design.begin
    yield f"{who}: {name}", world.with_delivery(number, noted if keeps_journal else told)


def _record(world: World, case: Case, number: int, who: str) -> Steps:
    """Results are written, and the batch is given back once nothing of it is in hand."""
    delivery = world.deliveries[number]
    counts = not case.design.results_carry_the_token or world.batch.token == delivery.hand_token
    for place, state in enumerate(delivery.hand):
        if state in UNWRITTEN:
            message, after = world.messages[place], world
            if counts and message.status in OPEN:
                after = world.with_message(place, message._replace(status=case.outcome(place, state)))
            written = delivery.with_hand(place, "written")
            yield (
                f"{who}: message {place + 1}: its outcome is written",
                after.with_delivery(number, written),
            )
    if all(state in ("nothing", "written") for state in delivery.hand):
        after = world.closed() if counts else world
        yield f"{who}: gives the batch back", after.with_delivery(number, delivery.empty_handed())


def _see_to_lease(world: World, case: Case, number: int, who: str) -> Steps:
    """It starts, renews its lease, or gives back a claim whose commit it has not heard of."""
    delivery = world.deliveries[number]
    if not delivery.token:
        yield f"{who}: starts", world.with_lease(number, delivery)
    elif not delivery.lease_good and delivery.token in world.leases:
        renewed = delivery._replace(lease_good=True)
        yield f"{who}: renews its lease", world.with_delivery(number, renewed)
    elif not delivery.lease_good:
        yield f"{who}: takes a new lease", world.with_lease(number, delivery)
    elif world.batch.token == delivery.token and _finds_lost(world, case, delivery):
        yield f"{who}: gives back a claim that it did not know of", world.closed()


def _finds_lost(world: World, case: Case, delivery: Delivery) -> bool:
    return (
        case.design.looks_for_lost_claims
        and not (delivery.in_hand and case.design.batch_is_in_one_hand)
        and not delivery.claim
        and not world.batch_is_held
    )
