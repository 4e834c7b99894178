"""A CRM that keeps its records in memory and does what CRMs do: pages, duplicates that it refuses, limits, failures, answers that get lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from services.integrations.crm.errors import Broken, RateLimited
from services.integrations.crm.records import (
    Account,
    Activity,
    Change,
    Kind,
    Outcome,
    Page,
    Person,
    Property,
    Record,
    Value,
)

PROPERTIES = (
    Property("given", "Given name", Kind.TEXT),
    Property("family", "Family name", Kind.TEXT),
    Property("points", "Points", Kind.NUMBER),
)


class Cut(Exception):
    """The process died just then."""


@dataclass
class ScriptedCrm:
    """One account. `unrest` is how often a call goes wrong, from 0 to 1: before it has an effect, or after."""

    random: Random
    records: dict[str, Record] = field(default_factory=dict)
    unrest: float = 0.0
    _clock: datetime = datetime(2026, 11, 29, tzinfo=UTC)

    @property
    def mapped(self) -> Sequence[Property]:
        """Given name, family name, points."""
        return PROPERTIES

    @property
    def crm(self) -> "ScriptedCrm":
        """Its own adapter."""
        return self

    def edit(self, record_id: str, email: str | None = None, **values: Value) -> None:
        """Somebody edits a record."""
        record = self.records[record_id]
        self._put(replace(record, email=email or record.email, properties={**record.properties, **values}))

    def add(self, email: str | None, **values: Value) -> str:
        """Somebody makes a record."""
        record_id = str(len(self.records) + 1)
        nothing = dict.fromkeys(each.name for each in PROPERTIES)
        self._put(Record(record_id, email, {**nothing, **values}, False, self._clock))
        return record_id

    def say_opted_out(self, record_id: str, opted_out: bool = True) -> None:
        """Somebody notes that a person has opted out, or that they have not."""
        self._put(replace(self.records[record_id], opted_out=opted_out))

    def archive(self, record_id: str) -> None:
        """Somebody takes a record away."""
        self._put(replace(self.records[record_id], is_archived=True))

    def live(self) -> list[Record]:
        """What people see."""
        return [record for record in self.records.values() if not record.is_archived]

    def state(self) -> str:
        """All of it, to be compared."""
        return repr(self.records)

    async def account(self) -> Account:
        return Account("1", "Scripted")

    async def properties(self) -> Sequence[Property]:
        return PROPERTIES

    async def newest(self, properties: Sequence[Property], limit: int) -> Sequence[Record]:
        raise NotImplementedError

    async def changed(self, cursor: str | None, properties: Sequence[Property], limit: int) -> Page:
        self._stumble()
        # As small as it likes, and the last one once more: nobody promises that nothing comes twice.
        limit = min(limit, 7)
        since = (datetime.fromisoformat(cursor.split(" ")[0]), cursor.split(" ")[1]) if cursor else None
        later = sorted(
            (
                record
                for record in self.records.values()
                if since is None or (record.modified_at, record.id) >= since
            ),
            key=lambda record: (record.modified_at, record.id),
        )
        page = later[:limit]
        at = f"{page[-1].modified_at.isoformat()} {page[-1].id}" if page else cursor or ""
        self._stumble()
        return Page(page, at, is_last=len(later) <= limit)

    async def read(self, ids: Sequence[str], properties: Sequence[Property]) -> Mapping[str, Record]:
        self._stumble()
        return {
            id_: self.records[id_] for id_ in ids if id_ in self.records and not self.records[id_].is_archived
        }

    async def find(self, emails: Sequence[str], properties: Sequence[Property]) -> Mapping[str, Record]:
        self._stumble()
        by_email: dict[str, Record] = {}
        for record in self.live():
            by_email.setdefault((record.email or "").lower(), record)
        return {email: by_email[email] for email in emails if email in by_email}

    async def write(self, changes: Sequence[Change], properties: Sequence[Property]) -> Sequence[Outcome]:
        self._stumble()
        outcomes = [self._write(change) for change in changes[:5]]
        self._stumble()
        return outcomes

    async def opt_out(self, people: Sequence[Person]) -> Sequence[Outcome]:
        self._stumble()
        outcomes = [self._opt_out(person) for person in people[:5]]
        self._stumble()
        return outcomes

    async def log(self, activities: Sequence[Activity]) -> Sequence[Outcome]:
        raise NotImplementedError

    async def logged(self, activities: Sequence[Activity]) -> frozenset[str]:
        raise NotImplementedError

    def _opt_out(self, person: Person) -> Outcome:
        """By the address, as some do: another than the record's is nobody's."""
        record = self.records[person.id]
        if (record.email or "").lower() != person.email.lower():
            return Outcome(None, error="Nobody has that address.")
        self._put(replace(record, opted_out=True))
        return Outcome(person.id)

    def _write(self, change: Change) -> Outcome:
        email = change.email.lower()
        holder = next((record for record in self.live() if (record.email or "").lower() == email), None)
        target = change.id or (holder.id if holder else None)
        if target is None:
            target = self.add(change.email)
        elif holder is not None and holder.id != target:
            return Outcome(None, error="Another record has that address.")
        elif self.records[target].is_archived:
            return Outcome(None, error="The record is archived.")
        self.edit(target, change.email, **change.properties)
        return Outcome(target, self.records[target].modified_at)

    def _put(self, record: Record) -> None:
        self._clock += timedelta(seconds=1)
        self.records[record.id] = replace(record, modified_at=self._clock)

    def _stumble(self) -> None:
        if self.random.random() < self.unrest:
            raise self.random.choice(_STUMBLES)()


_STUMBLES: list[Any] = [lambda: RateLimited(1), lambda: Broken("It does not answer."), Cut]
