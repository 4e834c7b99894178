"""What came of a workflow: who came in, who is where, who left and why; by version and in all.

From counts and from the places of those under way alone: nothing is read that grows with who was in it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from chassis.database import TenantSession
from services.sending.tracking.agents import Kind
from services.sending.workflows.counts import ENROLLED, TAKEN
from services.sending.workflows.enrollments import Cause
from services.sending.workflows.lifecycle import get_workflow

_THERE = "there"
# At one moment: whoever goes on meanwhile is counted once.
_COUNTED = text(f"""
    SELECT version, step_id, what, reason, number FROM workflow_counts WHERE workflow_id = :workflow_id
    UNION ALL
    SELECT version, step_id, '{_THERE}', '', count(*) FROM enrollment_places
    WHERE workflow_id = :workflow_id GROUP BY version, step_id
    UNION ALL
    SELECT mail.version, mail.step_id, engaged.kind, '', sum(engaged.messages) FROM workflow_mails AS mail
    JOIN engagement_counts AS engaged
        ON engaged.organization_id = mail.organization_id AND engaged.campaign_id = mail.id AND engaged.link_number = 0
    WHERE mail.workflow_id = :workflow_id AND engaged.kind IN ('{Kind.OPENED}', '{Kind.CLICKED}')
    GROUP BY mail.version, mail.step_id, engaged.kind
""")  # noqa: S608 - of our own words alone
_OF_STEPS = (_THERE, TAKEN, Kind.OPENED.value, Kind.CLICKED.value)


@dataclass(slots=True)
class Figures:
    """How many came in and left, and how many are, or were, at each step."""

    enrolled: int = 0
    under_way: int = 0
    converted: int = 0
    # Of those who left otherwise: by cause and reason.
    exits: Counter[tuple[str, str]] = field(default_factory=Counter)
    # By step: there now, taken, opened and clicked.
    steps: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, row: Row[Any]) -> None:
        """Count what a row tells."""
        number = int(row.number)
        if row.what in _OF_STEPS:
            self.steps[row.step_id][row.what] += number
            self.under_way += number if row.what == _THERE else 0
        elif row.what == ENROLLED:
            self.enrolled += number
        elif row.what == Cause.GOAL:
            self.converted += number
        else:
            self.exits[row.what, row.reason] += number

    def there(self, step_id: str) -> int:
        """How many are there now."""
        return self.steps[step_id][_THERE]

    def taken(self, step_id: str) -> int:
        """How often it was taken."""
        return self.steps[step_id][TAKEN]

    def opened(self, step_id: str) -> int:
        """How many of its mails persons opened."""
        return self.steps[step_id][Kind.OPENED.value]

    def clicked(self, step_id: str) -> int:
        """With how many of its mails persons followed a link."""
        return self.steps[step_id][Kind.CLICKED.value]


@dataclass(frozen=True, slots=True)
class Report:
    """A workflow's figures, in all and by version; the steps of the newest in their order, then those that only others had."""

    in_all: Figures
    versions: Mapping[int, Figures]
    step_ids: Sequence[str]


async def report_on(session: TenantSession, workflow_id: UUID) -> Report:
    """Report on a workflow. Raises NotFound."""
    workflow = await get_workflow(session, workflow_id)
    in_all, versions = Figures(), defaultdict[int, Figures](Figures)
    for row in await session.execute(_COUNTED, {"workflow_id": workflow_id}):
        in_all.add(row)
        versions[row.version].add(row)
    newest = [step.id for step in workflow.document.steps]
    return Report(in_all, dict(sorted(versions.items())), _in_order(newest, in_all.steps))


def _in_order(newest: Sequence[str], counted: Iterable[str]) -> Sequence[str]:
    return list(dict.fromkeys([*newest, *sorted(counted)]))
