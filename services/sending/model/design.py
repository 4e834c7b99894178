"""The rules of the sending path, as data: in which order each transaction does its steps, and who looks after what is left."""

from dataclasses import dataclass

LOCK_LIST, HOLD_BATCH, LOOK, LEASE = "lock the list", "hold the batch", "look", "lease"
WRITE, COMMIT, ACKNOWLEDGE = "write", "commit", "acknowledge"
NOTE, SAY = "note", "say"


@dataclass(frozen=True, slots=True)
class Design:
    """How the processes go about it; as the code has it, where nothing else is said."""

    # `delivery/claims.py`: the steps of a claim's transaction; LEASE is its end.
    claim: tuple[str, ...] = (LOCK_LIST, HOLD_BATCH, LOOK, LEASE)
    # `suppression_list.py` and the pages: the steps of an opt-out.
    opt_out: tuple[str, ...] = (LOCK_LIST, WRITE, COMMIT, ACKNOWLEDGE)
    # `delivery/handover.py`: how a message is begun.
    begin: tuple[str, ...] = (NOTE, SAY)
    # `delivery/claims.py`: the claim looks at the list, not suppression alone.
    claim_vetoes: bool = True
    # `delivery/outcomes.py`, `batches.py`: results and closings count only with the token that the batch carries.
    results_carry_the_token: bool = True
    # `delivery/worker.py`: nothing is begun without a good lease.
    begins_with_a_good_lease: bool = True
    # `delivery/leases.py`: nobody is declared dead who may still hold its lease to be good.
    spares_the_living: bool = True
    # `delivery/journal.py`: nobody reads the journal of a process that lives.
    journal_is_locked: bool = True
    # `delivery/leases.py`: a batch is in the hands of one task of a process.
    batch_is_in_one_hand: bool = True
    # `categories.py`: what is in doubt is not repeated, if it is marketing.
    marketing_is_not_repeated: bool = True
    # The looks at what no event tells of: suppression's and delivery's sweeps.
    looks_for_undecided: bool = True
    looks_for_due: bool = True
    looks_for_dead: bool = True
    looks_for_lost_claims: bool = True
