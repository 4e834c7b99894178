"""How many came into a workflow, took each of its steps, and left, and why: what its report is made of."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from uuid import UUID

from chassis.database import TenantSession

# Ordered, so that two sets of one workflow cannot wait for each other in a circle.
_ADD = """
    INSERT INTO workflow_counts AS held (workflow_id, version, step_id, what, reason, number)
    SELECT %(workflow_id)s, version, step_id, what, reason, number
    FROM unnest(%(versions)s::int[], %(step_ids)s::text[], %(whats)s::text[], %(reasons)s::text[], %(numbers)s::bigint[])
        AS given (version, step_id, what, reason, number)
    ORDER BY version, step_id, what, reason
    ON CONFLICT (organization_id, workflow_id, version, step_id, what, reason)
    DO UPDATE SET number = held.number + excluded.number
"""
ENROLLED = "enrolled"
TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class Count:
    """What is counted: `enrolled` of no step, `taken` of one, or the cause for which contacts left at one, with its reason."""

    version: int
    step_id: str
    what: str
    reason: str = ""


async def add_counts(session: TenantSession, workflow_id: UUID, numbers: Mapping[Count, int]) -> None:
    """Count. Call it last: whoever counts the same waits until the transaction ends."""
    if not numbers:
        return
    versions, step_ids, whats, reasons = zip(*map(astuple, numbers), strict=True)
    await session.driver.execute(
        _ADD,
        {
            "workflow_id": workflow_id,
            "versions": list(versions),
            "step_ids": list(step_ids),
            "whats": list(whats),
            "reasons": list(reasons),
            "numbers": list(numbers.values()),
        },
    )
