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


@dataclass(frozen=True, slots=True)
class Merge:
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
        known = self.before.fingerprints
        prints = {
            rule.name: fingerprint(link_id, rule.name, self.held[rule.field])
            if rule.field in self.held
            else known[rule.name]
            for rule in self.rules
            if rule.field in self.held or rule.name in known
        }
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
    for rule in rules:
        pair = _Pair.of(link_id, rule, ours, crm, agreed)
        holder = pair.holder()
        match holder:
            case Holder.OURS:
                if rule.field in ours.unfit:
                    unfit[rule.field] = ours.unfit[rule.field]
                    continue
                to_crm[rule.field] = pair.ours
            case Holder.CRM:
                if rule.field in crm.unfit:
                    unfit[rule.field] = crm.unfit[rule.field]
                    continue
                to_ours[rule.field] = pair.crm
        held[rule.field] = pair.held(holder)
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


@dataclass(frozen=True, slots=True)
class _Pair:
    """The values of one field, and the fingerprint of what was agreed upon."""

    link_id: UUID
    rule: Rule
    ours: Value
    crm: Value
    known: str | None
    ours_is_newer: bool

    @classmethod
    def of(cls, link_id: UUID, rule: Rule, ours: Copy, crm: Copy, agreed: Agreement) -> "_Pair":
        return cls(
            link_id,
            rule,
            ours.values.get(rule.field),
            crm.values.get(rule.field),
            agreed.fingerprints.get(rule.name),
            ours_is_newer=ours.changed_at > crm.changed_at,
        )

    def holder(self) -> Holder:
        """Whose value goes to the other side."""
        if self.ours == self.crm:
            return Holder.NOBODY
        match self.rule.direction:
            case Direction.TO_CRM:
                return Holder.OURS if self._tells(self.ours) else Holder.NOBODY
            case Direction.FROM_CRM:
                return Holder.CRM if self._tells(self.crm) else Holder.NOBODY
        ours_changed = self._changed(self.ours)
        if ours_changed != self._changed(self.crm):
            return Holder.OURS if ours_changed else Holder.CRM
        if self.known is None and None in {self.ours, self.crm}:
            return Holder.CRM if self.ours is None else Holder.OURS
        return self._winner()

    def held(self, holder: Holder) -> Value:
        """What both have afterwards; where each keeps its own, that of the side whose changes count."""
        match holder:
            case Holder.OURS:
                return self.ours
            case Holder.CRM:
                return self.crm
        return self.crm if self.rule.direction is Direction.FROM_CRM else self.ours

    def _changed(self, value: Value) -> bool:
        return self.known is None or self.known != fingerprint(self.link_id, self.rule.name, value)

    def _tells(self, value: Value) -> bool:
        """Whether there is news in it. Of two who have just met, who knows nothing yet has none."""
        return value is not None if self.known is None else self._changed(value)

    def _winner(self) -> Holder:
        match self.rule.winner:
            case Winner.OURS:
                return Holder.OURS
            case Winner.CRM:
                return Holder.CRM
        return Holder.OURS if self.ours_is_newer else Holder.CRM
