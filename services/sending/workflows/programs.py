"""Versions as they are run: the document and the mails of its steps, remembered, since what has run once does not change."""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from chassis.database import TenantSession
from services.sending.workflow_mails import WorkflowMail, mails_of
from services.sending.workflows.documents import Version
from services.sending.workflows.versions import Numbered, read_versions

_MOST_KEPT = 500


@dataclass(frozen=True, slots=True)
class Program:
    """A version, and by the ids of its steps the mails that they send."""

    version: Version
    mails: Mapping[str, WorkflowMail]


class Programs:
    """Reads those of versions that are, or were, active."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[UUID, Numbered], Program] = OrderedDict()

    async def of(self, session: TenantSession, wanted: Collection[Numbered]) -> Mapping[Numbered, Program]:
        """Those of the session's organization. Raises KeyError for one that is not there."""
        organization = session.context.organization
        missing = [each for each in wanted if (organization, each) not in self._kept]
        read = await _read(session, missing) if missing else {}
        found = {each: read.get(each) or self._kept[organization, each] for each in wanted}
        for each, program in found.items():
            self._kept[organization, each] = program
            self._kept.move_to_end((organization, each))
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return found


async def _read(session: TenantSession, wanted: Collection[Numbered]) -> Mapping[Numbered, Program]:
    versions = await read_versions(session, wanted)
    return {
        numbered: Program(version, await mails_of(session, *numbered))
        for numbered, version in versions.items()
    }
