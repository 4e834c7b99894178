"""Settling: pairs of a contact and a record are brought together, a page of them at a time.

What is written is written before what was agreed upon is: whoever is cut off between the two merges once more, and finds nothing left to
write. What cannot be written of one pair is told, and keeps no other pair waiting.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar
from uuid import UUID

from chassis.context import RequestContext
from services.integrations.crm.adapter import Crm
from services.integrations.crm.records import Change, Outcome, Person, Record
from services.integrations.sync.contacts import EMAIL, Contacts, OurContact, ToWrite, Written
from services.integrations.sync.links import Link
from services.integrations.sync.mapped_fields import MappedFields
from services.integrations.sync.merging import Merge

Given = TypeVar("Given")

# How often a contact is read again that others keep changing meanwhile.
_MOST_TRIES = 5


@dataclass(frozen=True, slots=True)
class Pair:
    """What is the same person's as far as is known: a contact, a record, or both, and how they were linked."""

    contact: OurContact | None
    record: Record | None
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a pair is not in step."""

    contact_id: UUID | None
    record_id: str
    message: str


@dataclass(slots=True)
class Settled:
    """What came of it: the links that hold from now on, contacts that are to come again, counts, and problems."""

    links: list[Link] = field(default_factory=list)
    again: list[UUID] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, each: "_Together", outcome: Outcome) -> None:
        """The CRM did not take it."""
        if outcome.is_retryable and each.contact_id is not None:
            self.again.append(each.contact_id)
        else:
            self.problems.append(each.problem(outcome.error))


class Busy(Exception):
    """Contacts were changed as often as they were read."""


class Settling:
    """Brings pairs of one connection together."""

    def __init__(
        self, connection_id: UUID, crm: Crm, contacts: Contacts, fields: MappedFields, note: str
    ) -> None:
        self._connection_id = connection_id
        self._crm = crm
        self._contacts = contacts
        self._fields = fields
        self._note = note

    async def settle(
        self, context: RequestContext, pairs: Sequence[Pair], opted_out: Sequence[str] = ()
    ) -> Settled:
        """Write on both sides what is to be written, and that these addresses, of no pair, have opted out as well.

        Raises what the CRM and our services raise when they cannot be asked, and Busy.
        """
        settled = Settled()
        merged = [self._merged(pair) for pair in pairs]
        settled.problems += [each.problem(why) for each in merged for why in each.merge.unfit.values()]
        # Before anybody is made a contact, and whatever else of a pair cannot be written.
        await self._opt_out(context, merged, opted_out, settled)
        together = await self._write_ours(context, merged, settled)
        together = await self._write_theirs(together, settled)
        settled.links += [each.link() for each in together]
        return settled

    def _merged(self, pair: Pair) -> "_Together":
        contact, record, link = pair.contact, pair.record, pair.link
        merged = self._fields.merged(contact, record, link.agreement if link else None)
        return _Together(pair, merged, contact.id if contact else None, record.id if record else "")

    async def _write_ours(
        self, context: RequestContext, merged: Sequence["_Together"], settled: Settled
    ) -> list["_Together"]:
        """Write what is ours to have; those pairs that are well so far."""
        well: list[_Together] = []
        left = merged
        for _ in range(_MOST_TRIES):
            to_write = [each for each in left if each.writes_ours]
            well += [each for each in left if not each.writes_ours]
            stale = await self._write_set(context, to_write, well, settled)
            if not stale:
                return well
            left = await self._read_again(context, stale)
        raise Busy

    async def _write_set(
        self,
        context: RequestContext,
        to_write: Sequence["_Together"],
        well: list["_Together"],
        settled: Settled,
    ) -> list["_Together"]:
        """Answers those that have been changed since they were read."""
        outcomes = await self._contacts.write(
            context, self._connection_id, [each.to_write() for each in to_write]
        )
        stale = []
        for each, outcome in zip(to_write, outcomes, strict=True):
            match outcome.written:
                case Written.STALE:
                    stale.append(each)
                case Written.REFUSED:
                    settled.problems.append(each.problem(outcome.message))
                case Written.GONE:
                    # Erased meanwhile: it is cut as soon as that is heard of.
                    continue
                case _:
                    settled.tally[
                        "contacts_created" if outcome.written is Written.CREATED else "contacts_changed"
                    ] += 1
                    well.append(each.known_as(outcome.contact_id))
        return stale

    async def _read_again(self, context: RequestContext, stale: Sequence["_Together"]) -> list["_Together"]:
        keys = [each.key for each in stale]
        found = await self._contacts.read(context, keys, self._fields.names)
        return [
            self._merged(replace(each.pair, contact=found.get(place))) for place, each in enumerate(stale)
        ]

    async def _write_theirs(self, together: Sequence["_Together"], settled: Settled) -> list["_Together"]:
        well = [each for each in together if not each.writes_theirs]
        to_write: list[tuple[_Together, Change]] = []
        for each in together:
            if each.writes_theirs:
                try:
                    to_write.append((each, each.change(self._fields)))
                except (ValueError, ArithmeticError) as wrong:
                    settled.problems.append(each.problem(f"A value {wrong}."))
        for each, outcome in await self._each(to_write, self._crm_write):
            if outcome.id is None:
                settled.refuse(each, outcome)
                continue
            settled.tally["records_changed" if each.pair.record else "records_created"] += 1
            well.append(each.recorded_as(outcome.id))
        return well

    async def _crm_write(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        return await self._crm.write(changes, self._fields.properties)

    async def _opt_out(
        self,
        context: RequestContext,
        together: Sequence["_Together"],
        others: Sequence[str],
        settled: Settled,
    ) -> None:
        here = list(dict.fromkeys([*(each.email for each in together if each.merge.opt_out_ours), *others]))
        there = [
            (each, Person(each.record_id, each.their_email)) for each in together if each.merge.opt_out_crm
        ]
        await self._contacts.opt_out(context, here, self._note)
        for each, outcome in await self._each(there, self._crm.opt_out):
            if outcome.id is None:
                settled.refuse(each, outcome)
        settled.tally["opt_outs_taken"] += len(here)
        settled.tally["opt_outs_told"] += len(there)

    async def _each(
        self,
        given: Sequence[tuple["_Together", Given]],
        act: Callable[[Sequence[Given]], Awaitable[Sequence[Outcome]]],
    ) -> list[tuple["_Together", Outcome]]:
        """The outcome of each: the CRM takes as many at a time as it likes."""
        outcomes: list[tuple[_Together, Outcome]] = []
        while len(outcomes) < len(given):
            left = given[len(outcomes) :]
            done = await act([what for _, what in left])
            outcomes += [(each, outcome) for (each, _), outcome in zip(left, done, strict=False)]
        return outcomes


@dataclass(frozen=True, slots=True)
class _Together:
    """A pair, and what its merge has to write."""

    pair: Pair
    merge: Merge
    contact_id: UUID | None
    record_id: str

    @property
    def email(self) -> str:
        """The address that it goes by."""
        contact, record = self.pair.contact, self.pair.record
        if contact is not None:
            return contact.email
        return (record.email or "") if record else ""

    @property
    def their_email(self) -> str:
        """The address that the record has, as it stands there; ours, where it has none."""
        record = self.pair.record
        return (record.email if record else None) or self.email

    @property
    def key(self) -> UUID | str:
        """By what the contact is read."""
        return self.contact_id or self.email

    @property
    def writes_ours(self) -> bool:
        """Whether there is something for the contact."""
        return self.pair.contact is None or bool(self.merge.to_ours)

    @property
    def writes_theirs(self) -> bool:
        """Whether there is something for the record."""
        return self.pair.record is None or bool(self.merge.to_crm)

    def to_write(self) -> ToWrite:
        """What the contact is to have."""
        contact, values = self.pair.contact, dict(self.merge.to_ours)
        moved = values.pop(EMAIL, None) is not None
        if contact is None:
            return ToWrite(values, self.email)
        return ToWrite(values, self.their_email if moved else "", contact.id, contact.version)

    def change(self, fields: MappedFields) -> Change:
        """What the record is to have; a new one all there is."""
        record = self.pair.record
        values = self.merge.to_crm if record else self.merge.held
        email = self.email if EMAIL in self.merge.to_crm else self.their_email
        return Change(record.id if record else None, email, fields.written(values))

    def known_as(self, contact_id: UUID | None) -> "_Together":
        """The same, with the contact that it has become."""
        return _Together(self.pair, self.merge, contact_id, self.record_id)

    def recorded_as(self, record_id: str) -> "_Together":
        """The same, with the record that it has become."""
        return _Together(self.pair, self.merge, self.contact_id, record_id)

    def link(self) -> Link:
        """What holds once everything is written. Both are there then."""
        if self.contact_id is None:
            raise ValueError("a link takes a contact")
        return Link(self.contact_id, self.record_id, self.merge.agreement(self.contact_id))

    def problem(self, message: str) -> Problem:
        """Why it is not in step."""
        return Problem(self.contact_id, self.record_id, message)
