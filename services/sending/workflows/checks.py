"""Whether a document may be kept: all that is wrong with it, and with what it names, told at once."""

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import select

from chassis.contract.bounds import MOST_VIOLATIONS
from chassis.database import TenantSession
from chassis.errors import FieldViolation, InvalidRequest
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.tables import campaigns
from services.sending.workflow_mails import check_mails
from services.sending.workflows.references import Named, Reference, references
from services.sending.workflows.validation import violations

# Less than what a call can carry, which has more to say than the document.
MOST_BYTES = 3_000_000


def wrong_with(document: pb.WorkflowDocument) -> list[FieldViolation]:
    """What is wrong with a document by itself, at most 20 of it."""
    if document.ByteSize() > MOST_BYTES:
        return [FieldViolation("steps", f"must be at most {MOST_BYTES:,} bytes, all together")]
    return violations(document)


async def require_good(
    session: TenantSession, document: pb.WorkflowDocument, found: list[FieldViolation]
) -> None:
    """Look at campaigns and mails that a document names; raises InvalidRequest that names these and all else that was found."""
    wrong = [*found, *await _unknown_campaigns(session, document)]
    if not found:
        # Of steps that are well.
        wrong += await check_mails(session, document)
    if wrong:
        raise InvalidRequest(*wrong[:MOST_VIOLATIONS])


async def _unknown_campaigns(
    session: TenantSession, document: pb.WorkflowDocument
) -> Iterator[FieldViolation]:
    named = [reference for reference in references(document) if reference.kind is Named.CAMPAIGN]
    known = select(campaigns.c.id).where(campaigns.c.id.in_({UUID(reference.name) for reference in named}))
    there = set((await session.execute(known)).scalars()) if named else set()
    return (_unknown(reference) for reference in named if UUID(reference.name) not in there)


def _unknown(reference: Reference) -> FieldViolation:
    return FieldViolation(reference.path, f"There is no such campaign as {reference.name}.")
