"""What two copies of a contact have to tell each other: a merge of both with what they last agreed upon.

Of what they agreed upon only fingerprints are kept, field by field: enough to see which side has changed a value, and nothing that tells
the value. So what one side wrote at the other's word is no change of its own, and nothing goes round in circles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum, auto
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

import orjson

# A value as both sides have it after conversion; None where there is none.
Value = str | float | int | bool | None
Fingerprints = Mapping[str, str]

_FINGERPRINT_BYTES = 8


class Direction(StrEnum):
    """Which way a field's values go."""

    BOTH = "both"
    TO_CRM = "to_crm"
    FROM_CRM = "from_crm"


class Winner(StrEnum):
    """Whose value holds where both sides have changed it."""

    OURS = "ours"
    CRM = "crm"
    NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class Rule:
    """How one field is kept in step.

    `name` is what agreements call it, if not by its field: a field that is mapped anew has another, as nothing was agreed upon by it.
    """

    field: str
    direction: Direction = Direction.BOTH
    winner: Winner = Winner.NEWEST
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.field)


@dataclass(frozen=True, slots=True)
class Copy:
    """One side's contact: its values by field of ours, whether the person has opted out there, and when it was changed last.

    `unfit` says of values that the other side cannot have, by field, why not.
    """

    values: Mapping[str, Value]
    opted_out: bool
    changed_at: datetime
    unfit: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both sides last had in common."""

    fingerprints: Fingerprints = field(default_factory=dict)
    # That the CRM said the person has opted out: said once, it is not said again.
    crm_opted_out: bool = False


# A tuple: there is one for each contact, and of so many fields a frozen dataclass takes far longer to make.
class Merge(NamedTuple):
    """What is to be written on either side, and the values that both go by then.

    `unfit` are those that ought to be written and cannot be, by field: of these holds what was agreed upon before.
    """

    to_ours: Mapping[str, Value]
    to_crm: Mapping[str, Value]
    opt_out_ours: bool
    opt_out_crm: bool
    held: Mapping[str, Value]
    crm_opted_out: bool
    unfit: Mapping[str, str]
    before: Agreement
    rules: Sequence[Rule]

    def agreement(self, link_id: UUID) -> Agreement:
        """What is to be kept of it once everything is written."""
        known, held, prints = self.before.fingerprints, self.held, dict[str, str]()
        for rule in self.rules:
            if rule.field in held:
                prints[rule.name] = fingerprint(link_id, rule.name, held[rule.field])
            elif rule.name in known:
                prints[rule.name] = known[rule.name]
        return Agreement(prints, self.crm_opted_out)


def merge(link_id: UUID, ours: Copy, crm: Copy, agreed: Agreement, rules: Sequence[Rule]) -> Merge:
    """Bring two copies together. What is merged with its own result has nothing to write any more.

    An opt-out counts wherever it was said, and goes to the other side. That somebody has not opted out is told to nobody: it would
    subscribe them again.
    """
    to_ours: dict[str, Value] = {}
    to_crm: dict[str, Value] = {}
    held: dict[str, Value] = {}
    unfit: dict[str, str] = {}
    ours_is_newer = ours.changed_at > crm.changed_at
    for rule in rules:
        name = rule.field
        our_value, their_value = ours.values.get(name), crm.values.get(name)
        holder = Holder.NOBODY
        # Most are the same on both sides, and nothing more is to be found out of those.
        if our_value != their_value:
            known = agreed.fingerprints.get(rule.name)
            holder = _holder(link_id, rule, our_value, their_value, known, ours_is_newer=ours_is_newer)
        if holder is Holder.OURS:
            if name in ours.unfit:
                unfit[name] = ours.unfit[name]
                continue
            held[name] = to_crm[name] = our_value
        elif holder is Holder.CRM:
            if name in crm.unfit:
                unfit[name] = crm.unfit[name]
                continue
            held[name] = to_ours[name] = their_value
        else:
            # Where each keeps its own, that of the side whose changes count.
            held[name] = their_value if rule.direction is Direction.FROM_CRM else our_value
    said_there = crm.opted_out and not agreed.crm_opted_out
    return Merge(
        to_ours=to_ours,
        to_crm=to_crm,
        opt_out_ours=said_there and not ours.opted_out,
        opt_out_crm=ours.opted_out and not crm.opted_out,
        held=held,
        crm_opted_out=crm.opted_out or ours.opted_out,
        unfit=unfit,
        before=agreed,
        rules=rules,
    )


def fingerprint(link_id: UUID, name: str, value: Value) -> str:
    """Of a value of one field of one link: elsewhere the same value has another."""
    digest = blake2b(orjson.dumps([name, value]), digest_size=_FINGERPRINT_BYTES, key=link_id.bytes)
    return digest.hexdigest()


class Holder(Enum):
    """Whose value is written to the other side; NOBODY's where both have it already, or each keeps its own."""

    OURS = auto()
    CRM = auto()
    NOBODY = auto()


def _holder(
    link_id: UUID, rule: Rule, ours: Value, crm: Value, known: str | None, *, ours_is_newer: bool
) -> Holder:
    """Whose value goes to the other side, of two that differ; `known` is the fingerprint of what was agreed upon."""
    ours_tells = rule.direction is not Direction.FROM_CRM and _is_news(link_id, rule, ours, known)
    crm_tells = rule.direction is not Direction.TO_CRM and _is_news(link_id, rule, crm, known)
    if ours_tells and crm_tells:
        return _winner(rule.winner, ours_is_newer=ours_is_newer)
    if ours_tells:
        return Holder.OURS
    return Holder.CRM if crm_tells else Holder.NOBODY


def _is_news(link_id: UUID, rule: Rule, value: Value, known: str | None) -> bool:
    """Whether a side has news for the other. Of two who have just met, who knows nothing yet has none."""
    return value is not None if known is None else known != fingerprint(link_id, rule.name, value)


def _winner(winner: Winner, *, ours_is_newer: bool) -> Holder:
    if winner is Winner.NEWEST:
        return Holder.OURS if ours_is_newer else Holder.CRM
    return Holder.OURS if winner is Winner.OURS else Holder.CRM
