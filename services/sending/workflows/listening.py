"""Which workflows an event concerns: those that begin with it, and those in which somebody may wait for it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from chassis.database import TenantSession
from services.sending.workflows.events import Event
from services.sending.workflows.versions import Numbered

# A listener of no subject hears of all.
_LISTENING = text("""
    SELECT DISTINCT listener.workflow_id, listener.version, listener.begins
    FROM workflow_listeners AS listener
    JOIN workflows AS workflow
      ON workflow.organization_id = listener.organization_id AND workflow.id = listener.workflow_id
    WHERE (listener.kind, listener.subject) IN (
        SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:subjects AS text[]))
    ) AND (NOT listener.begins OR workflow.status = 'active' AND workflow.version = listener.version)
    ORDER BY listener.workflow_id, listener.version
""")


@dataclass(frozen=True, slots=True)
class Listening:
    """Versions that events may begin, and versions that may wait for them, or end with them."""

    begins: Sequence[Numbered]
    waits: Sequence[Numbered]

    def __bool__(self) -> bool:
        return bool(self.begins or self.waits)


async def listening_for(session: TenantSession, events: Collection[Event]) -> Listening:
    """Those that listen for any of the events."""
    heard = {(event.kind.value, event.of) for event in events}
    heard |= {(kind, "") for kind, _ in heard}
    kinds, subjects = zip(*sorted(heard), strict=True)
    rows = (await session.execute(_LISTENING, {"kinds": list(kinds), "subjects": list(subjects)})).all()
    numbered: dict[bool, list[Numbered]] = {True: [], False: []}
    for row in rows:
        numbered[row.begins].append((row.workflow_id, row.version))
    return Listening(numbered[True], numbered[False])


def contacts_of(events: Collection[Event]) -> list[UUID]:
    """Whom they are about, each once."""
    return list(dict.fromkeys(event.contact_id for event in events))
