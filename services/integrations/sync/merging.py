"""What two copies of a contact have to tell each other: a merge of both with what they last agreed upon.

Of what they agreed upon only fingerprints are kept, field by field: enough to see which side has changed a value, and nothing that tells
the value. So what one side wrote at the other's word is no change of its own, and nothing goes round in circles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum, auto
from hashlib import blake2b
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
    """How one field is kept in step."""

    field: str
    direction: Direction = Direction.BOTH
    winner: Winner = Winner.NEWEST


@dataclass(frozen=True, slots=True)
class Copy:
    """One side's contact: its values by field of ours, whether the person has opted out there, and when it was changed last."""

    values: Mapping[str, Value]
    opted_out: bool
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both sides last had in common."""

    fingerprints: Fingerprints = field(default_factory=dict)
    # That the CRM said the person has opted out: said once, it is not said again.
    crm_opted_out: bool = False


@dataclass(frozen=True, slots=True)
class Merge:
    """What is to be written on either side, and the values that both go by then."""

    to_ours: Mapping[str, Value]
    to_crm: Mapping[str, Value]
    opt_out_ours: bool
    opt_out_crm: bool
    held: Mapping[str, Value]
    crm_opted_out: bool

    def agreement(self, link_id: UUID) -> Agreement:
        """What is to be kept of it once everything is written."""
        prints = {name: fingerprint(link_id, name, value) for name, value in self.held.items()}
        return Agreement(prints, self.crm_opted_out)


def merge(link_id: UUID, ours: Copy, crm: Copy, agreed: Agreement, rules: Sequence[Rule]) -> Merge:
    """Bring two copies together. What is merged with its own result has nothing to write any more.

    An opt-out counts wherever it was said, and goes to the other side. That somebody has not opted out is told to nobody: it would
    subscribe them again.
    """
    to_ours: dict[str, Value] = {}
    to_crm: dict[str, Value] = {}
    held: dict[str, Value] = {}
    for rule in rules:
        pair = _Pair.of(link_id, rule, ours, crm, agreed)
        match pair.holder():
            case Holder.OURS:
                to_crm[rule.field] = pair.ours
            case Holder.CRM:
                to_ours[rule.field] = pair.crm
        held[rule.field] = pair.held()
    said_there = crm.opted_out and not agreed.crm_opted_out
    return Merge(
        to_ours=to_ours,
        to_crm=to_crm,
        opt_out_ours=said_there and not ours.opted_out,
        opt_out_crm=ours.opted_out and not crm.opted_out,
        held=held,
        crm_opted_out=crm.opted_out or ours.opted_out,
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


@dataclass(frozen=True, slots=True)
class _Pair:
    """The values of one field."""

    rule: Rule
    ours: Value
    crm: Value
    ours_changed: bool
    crm_changed: bool
    is_new: bool
    ours_is_newer: bool

    @classmethod
    def of(cls, link_id: UUID, rule: Rule, ours: Copy, crm: Copy, agreed: Agreement) -> "_Pair":
        our_value, crm_value = ours.values.get(rule.field), crm.values.get(rule.field)
        known = agreed.fingerprints.get(rule.field)
        return cls(
            rule,
            our_value,
            crm_value,
            ours_changed=known != fingerprint(link_id, rule.field, our_value),
            crm_changed=known != fingerprint(link_id, rule.field, crm_value),
            is_new=known is None,
            ours_is_newer=ours.changed_at > crm.changed_at,
        )

    def holder(self) -> Holder:
        """Whose value goes to the other side."""
        if self.ours == self.crm:
            return Holder.NOBODY
        match self.rule.direction:
            case Direction.TO_CRM:
                return Holder.OURS if self.ours_changed else Holder.NOBODY
            case Direction.FROM_CRM:
                return Holder.CRM if self.crm_changed else Holder.NOBODY
        if self.ours_changed != self.crm_changed:
            return Holder.OURS if self.ours_changed else Holder.CRM
        if self.is_new and None in {self.ours, self.crm}:
            # Of two who have just met, one knows nothing yet.
            return Holder.CRM if self.ours is None else Holder.OURS
        return self._winner()

    def held(self) -> Value:
        """What both have afterwards; where each keeps its own, that of the side whose changes count."""
        match self.holder():
            case Holder.OURS:
                return self.ours
            case Holder.CRM:
                return self.crm
        return self.crm if self.rule.direction is Direction.FROM_CRM else self.ours

    def _winner(self) -> Holder:
        match self.rule.winner:
            case Winner.OURS:
                return Holder.OURS
            case Winner.CRM:
                return Holder.CRM
        return Holder.OURS if self.ours_is_newer else Holder.CRM
