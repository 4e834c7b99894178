"""What is searched: the design as it is built, with what may befall it, and the design without each of its rules."""

from collections.abc import Mapping

from services.sending.model.case import Case
from services.sending.model.design import (
    ACKNOWLEDGE,
    COMMIT,
    HOLD_BATCH,
    LEASE,
    LOCK_LIST,
    LOOK,
    NOTE,
    SAY,
    WRITE,
    Design,
)
from services.sending.model.world import Mishaps

# The first is to who opts out, the second is not.
_TWO = Case(marketing=(True, True), to_leaver=(True, False))

AS_BUILT: Mapping[str, Case] = {
    "a campaign's message": Case(
        mishaps=Mishaps(deaths=1, stalls=1, lost_answers=1, broken_connections=1, deferrals=1)
    ),
    "a campaign's message, and what may be lost": Case(
        mishaps=Mishaps(losses_of_machine=1, lost_events=1, suppression_deaths=1, deferrals=1)
    ),
    "a campaign's message, and two deaths": Case(mishaps=Mishaps(deaths=2)),
    "a campaign's message, and three processes": Case(deliveries=3, mishaps=Mishaps(deaths=1)),
    "two messages of a campaign, and a death": _TWO.with_mishaps(deaths=1),
    "two messages of a campaign, and a stall": _TWO.with_mishaps(stalls=1),
    "two messages of a campaign, and what the relay does": _TWO.with_mishaps(
        broken_connections=1, deferrals=1, lost_answers=1
    ),
    "a single message": Case(marketing=(False,), mishaps=Mishaps(deaths=1, stalls=1)),
}

# Each with what it takes to show that it was needed.
WITHOUT: Mapping[str, Case] = {
    "the lock that claims take": Case(Design(claim=(HOLD_BATCH, LOOK, LEASE))),
    "the lock that additions take": Case(Design(opt_out=(WRITE, COMMIT, ACKNOWLEDGE))),
    "locking before looking": Case(Design(claim=(HOLD_BATCH, LOOK, LOCK_LIST, LEASE))),
    "the look of the claim": Case(Design(claim_vetoes=False)),
    "committing before acknowledging": Case(
        Design(opt_out=(LOCK_LIST, WRITE, ACKNOWLEDGE, COMMIT)), mishaps=Mishaps(suppression_deaths=1)
    ),
    "holding the batch before looking": Case(
        Design(claim=(LOCK_LIST, LOOK, HOLD_BATCH, LEASE)), _TWO.marketing, _TWO.to_leaver
    ),
    "the token of the lease": Case(
        Design(results_carry_the_token=False), mishaps=Mishaps(stalls=1, deferrals=1)
    ),
    "stopping when the lease runs out": Case(
        Design(begins_with_a_good_lease=False), mishaps=Mishaps(stalls=1)
    ),
    "waiting before somebody is declared dead": Case(Design(spares_the_living=False)),
    "the journal": Case(Design(begin=(SAY,)), mishaps=Mishaps(deaths=1)),
    "noting before saying": Case(Design(begin=(SAY, NOTE)), mishaps=Mishaps(deaths=1)),
    "the lock of the journal": Case(Design(journal_is_locked=False)),
    "one hand for a batch": Case(Design(batch_is_in_one_hand=False)),
    "leaving doubt alone": Case(
        Design(marketing_is_not_repeated=False), mishaps=Mishaps(broken_connections=1)
    ),
    "the look for undecided batches": Case(Design(looks_for_undecided=False), mishaps=Mishaps(lost_events=1)),
    "the look for due batches": Case(Design(looks_for_due=False), mishaps=Mishaps(lost_events=1)),
    "the look for the dead": Case(Design(looks_for_dead=False), mishaps=Mishaps(losses_of_machine=1)),
    "the look for lost claims": Case(Design(looks_for_lost_claims=False), mishaps=Mishaps(lost_answers=1)),
}
