"""Kinds of mail, and what each may do: the one table that acceptance, veto, claim, hand-over and header go by.

`docs/categories.md` shows it, and a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.sending.statuses import SuppressionReason


class Category(StrEnum):
    """What kind of mail a message is."""

    # A campaign, or a single message that promotes something.
    MARKETING = "marketing"
    # A single message that answers what its recipient did.
    TRANSACTIONAL = "transactional"
    # Asks whether it was they who filled in a form: how a person who has unsubscribed comes back.
    CONFIRMATION = "confirmation"
    # The platform's own: mails about accounts. The database refuses it in any organization but the platform's.
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Rules:
    """What mail of a category may do."""

    # Which suppressions do not stand against it. Never a hard bounce, a complaint, or what was put on the list by hand.
    passes_over: frozenset[SuppressionReason]
    # Whether it goes again, with the same Message-ID, when nobody knows whether it arrived.
    repeats_in_doubt: bool
    # Whether it carries the fields and links by which its recipient opts out.
    offers_opt_out: bool
    # Whether it is one of the e-mails that the organization's plan allows.
    counts: bool
    # Whether an address gets no more of it than the organization's frequency cap allows.
    is_capped: bool


_NOTHING: frozenset[SuppressionReason] = frozenset()
_OPT_OUT = frozenset({SuppressionReason.UNSUBSCRIBE})

RULES: Mapping[Category, Rules] = {
    Category.MARKETING: Rules(
        _NOTHING, repeats_in_doubt=False, offers_opt_out=True, counts=True, is_capped=True
    ),
    # Whoever opted out gets nothing that an organization sends of its own accord, whatever it calls it.
    Category.TRANSACTIONAL: Rules(
        _NOTHING, repeats_in_doubt=True, offers_opt_out=False, counts=True, is_capped=False
    ),
    # Who confirms a subscription is not written to yet.
    Category.CONFIRMATION: Rules(
        _OPT_OUT, repeats_in_doubt=True, offers_opt_out=False, counts=False, is_capped=False
    ),
    Category.SYSTEM: Rules(
        _OPT_OUT, repeats_in_doubt=True, offers_opt_out=False, counts=False, is_capped=False
    ),
}

# In SQL, of a `message` and a `suppression`: that this suppression stands against this message.
STANDS_AGAINST = " AND ".join(
    f"NOT (message.category = '{category.value}' AND suppression.reason = '{reason.value}')"
    for category, rules in RULES.items()
    for reason in sorted(rules.passes_over)
)
# In SQL, of a `message`: that it goes again when nobody knows whether it arrived.
REPEATS_IN_DOUBT = "message.category IN ({})".format(
    ", ".join(f"'{category.value}'" for category, rules in RULES.items() if rules.repeats_in_doubt)
)
# In SQL, of a `message`: that the frequency cap holds for it.
IS_CAPPED = "message.category IN ({})".format(
    ", ".join(f"'{category.value}'" for category, rules in RULES.items() if rules.is_capped)
)
