"""What the versions of workflows listen for: which events they begin with, and which they wait for or end by."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from uuid import UUID

from sqlalchemy import delete, text
from sqlalchemy.dialects.postgresql import insert

from chassis.database import TenantSession
from flownurture.sending.v1 import workflows_pb2 as pb
from flownurture.workflows.v1.events_pb2 import SegmentsWatched
from services.sending.tables import workflow_listeners
from services.sending.workflows.events import EventKind, subject_of
from services.sending.workflows.parts import parts

_ONE_AT_A_TIME = text(
    "SELECT pg_advisory_xact_lock(hashtextextended('workflows:' || current_setting('app.organization_id'), 0))"
)
_WATCHED = text("""
    SELECT DISTINCT listener.subject FROM workflow_listeners AS listener
    JOIN workflows AS workflow
        ON workflow.organization_id = listener.organization_id AND workflow.id = listener.workflow_id
    WHERE listener.kind = 'segment_entered' AND workflow.status = 'active'
    ORDER BY listener.subject
""")
_KINDS = frozenset(EventKind)


@dataclass(frozen=True, slots=True)
class Listener:
    """An event that matters to a version of a document."""

    kind: EventKind
    # What it is about, as an event says it; empty for whatever it is about.
    subject: str
    # Whether it brings contacts in; else it ends a wait, or an enrollment.
    begins: bool


def listeners_of(document: pb.WorkflowDocument) -> set[Listener]:
    """What a valid document listens for. Dates and the API are no events."""
    found = set()
    trigger = str(document.trigger.WhichOneof("trigger"))
    if trigger in _KINDS:
        subject = subject_of(getattr(document.trigger, trigger))
        found.add(Listener(EventKind(trigger), subject, begins=True))
    for _, part in parts(document):
        if isinstance(part, pb.WorkflowEvent):
            kind = EventKind(str(part.WhichOneof("event")))
            found.add(Listener(kind, subject_of(getattr(part, kind)), begins=False))
    return found


async def listen(
    session: TenantSession, workflow_id: UUID, version: int, document: pb.WorkflowDocument
) -> None:
    """Let a version listen, and it alone bring contacts in. Those before it still listen for whoever is on them."""
    table = workflow_listeners
    await session.execute(delete(table).where(table.c.workflow_id == workflow_id, table.c.begins))
    rows = [
        {"workflow_id": workflow_id, "version": version, **asdict(listener)}
        for listener in listeners_of(document)
    ]
    if rows:
        await session.execute(insert(table).values(rows))


async def listen_no_more(session: TenantSession, workflow_id: UUID) -> None:
    """Let no version of a workflow listen any more."""
    await session.execute(delete(workflow_listeners).where(workflow_listeners.c.workflow_id == workflow_id))


@asynccontextmanager
async def changing_workflows(session: TenantSession) -> AsyncIterator[None]:
    """Within it, and until the transaction ends, nobody else changes how many workflows there are or what they listen for.

    Who watches segments is told of all that are to be watched, where these are others than before.
    """
    await session.execute(_ONE_AT_A_TIME)
    before = await _watched(session)
    yield
    after = await _watched(session)
    if after != before:
        session.publish(SegmentsWatched(segment_ids=after))


async def _watched(session: TenantSession) -> list[str]:
    return list((await session.execute(_WATCHED)).scalars())
