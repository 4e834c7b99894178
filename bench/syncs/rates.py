"""How many contacts a second are brought in step, and whose work it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import uvloop

from bench.sending.processor import await_idle, difference, used_by
from bench.sending.stage import Stage
from bench.sending.turns import say
from bench.syncs.stage import Syncing, edit, syncing
from flownurture.contacts.v1.contacts_pb2 import UpdateContactRequest
from flownurture.contacts.v1.contacts_pb2_grpc import ContactServiceStub

_LEAST_OF_OUR_OWN = 5_000
# What syncs, and what hears of changes meanwhile.
_OUR_OWN = ("engine", "integrations")
_SOME = "SELECT id FROM contacts.contacts WHERE organization_id = %s ORDER BY id LIMIT %s"


@dataclass(frozen=True, slots=True)
class Turn:
    """One sync of so many contacts, or what else was timed; processor time by who used it until all was done that it set off."""

    contacts: int
    seconds: float
    processor_seconds: Mapping[str, float]
    counts: Mapping[str, int]

    @property
    def own_rate(self) -> float:
        """Contacts for a second that the service used of the processor."""
        return self.contacts / sum(self.processor_seconds[name] for name in _OUR_OWN)

    def figures(self) -> dict[str, Any]:
        """As they are printed: rates, and microseconds of the processor for a contact."""
        return {
            "contacts": self.contacts,
            "seconds": round(self.seconds, 2),
            "contacts_per_second": round(self.contacts / self.seconds),
            "contacts_per_own_second": round(self.own_rate),
            "processor_microseconds": {
                name: round(seconds / self.contacts * 1e6)
                for name, seconds in self.processor_seconds.items()
                if seconds
            },
            "counts": {name: number for name, number in self.counts.items() if number},
        }


def synced(contacts: int) -> dict[str, Any]:
    """First syncs of so many: from a CRM that has them to us who have none, and from us to one that has none; and what is synced later."""
    with syncing() as made, made.crm(contacts) as full, made.crm(0) as empty:
        some = max(1, contacts // 100)
        first = made.tell("connect", full)["connection"]
        turns = {
            "reading_alone": _turn("reading_alone", made, contacts, lambda: made.tell("read", first)),
            "first_from_crm": _turn("first_from_crm", made, contacts, lambda: made.tell("sync", first)),
            # Of what the first sync wrote here events have been told.
            "next": _turn("next", made, contacts, lambda: made.tell("sync", first)),
            "nothing_changed": _turn("nothing_changed", made, contacts, lambda: made.tell("sync", first)),
        }
        edit(full, some)
        turns["one_percent_of_crm"] = _turn(
            "one_percent_of_crm", made, some, lambda: made.tell("sync", first)
        )
        uvloop.run(_edit_ours(made.stage, some))
        turns["one_percent_of_ours"] = _turn(
            "one_percent_of_ours", made, some, lambda: made.tell("sync", first)
        )
        second = made.tell("connect", empty)["connection"]
        turns["first_to_crm"] = _turn("first_to_crm", made, contacts, lambda: made.tell("sync", second))
    own = {name: turns[name].own_rate for name in ("first_from_crm", "first_to_crm")}
    return {name: turn.figures() for name, turn in turns.items()} | {
        "meets": min(own.values()) >= _LEAST_OF_OUR_OWN
    }


def _turn(name: str, made: Syncing, contacts: int, act: Callable[[], Mapping[str, Any]]) -> Turn:
    await_idle(made.pids)
    before = used_by(made.pids)
    told = dict(act())
    # What readers of events still do is part of it.
    await_idle(made.pids)
    used = difference(before, used_by(made.pids))
    turn = Turn(contacts, told.pop("seconds"), used, told)
    say(f"{name}: {turn.figures()}")
    return turn


async def _edit_ours(made: Stage, number: int) -> None:
    """Change so many contacts of ours, one by one, as people do."""
    async with made.peer("contacts") as peer:
        stub = ContactServiceStub(peer.channel)
        for (contact_id,) in made.look(_SOME, made.context.organization, number):
            request = UpdateContactRequest(contact_id=str(contact_id), last_name="Edited")
            await peer.call(stub.UpdateContact, request, made.context)
