"""Kinds of mail, and which suppressions each may pass over: the one table that veto and claim go by."""

from enum import StrEnum

from services.sending.statuses import SuppressionReason


class Category(StrEnum):
    """What kind of mail a message is."""

    ORDINARY = "ordinary"
    # Asks whether it was they who filled in a form: how a person who has unsubscribed comes back.
    CONFIRMATION = "confirmation"


# Nothing passes over a hard bounce, a complaint, or what the organization itself has put on the list.
PASSES_OVER: dict[Category, frozenset[SuppressionReason]] = {
    Category.ORDINARY: frozenset(),
    Category.CONFIRMATION: frozenset({SuppressionReason.UNSUBSCRIBE}),
}

# In SQL, of a `message` and a `suppression`: that this suppression stands against this message.
STANDS_AGAINST = " AND ".join(
    f"NOT (message.category = '{category.value}' AND suppression.reason = '{reason.value}')"
    for category, reasons in PASSES_OVER.items()
    for reason in sorted(reasons)
)
