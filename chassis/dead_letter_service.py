"""`DeadLetterService`: what every process that reads events answers about those it gave up. Identity alone asks."""

from datetime import datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from chassis import dead_letters
from chassis.context import RequestContext
from chassis.database import RoleDatabase
from chassis.dead_letters import DeadLetter
from flownurture.operations.v1 import dead_letters_pb2 as pb


class DeadLetterService:
    """The parked events of one process, through the relay's role."""

    service = pb.DESCRIPTOR.services_by_name["DeadLetterService"]

    def __init__(self, database: RoleDatabase, process: str) -> None:
        self._database = database
        self._process = process

    async def list_parked(
        self, request: pb.ListParkedRequest, context: RequestContext
    ) -> pb.ListParkedResponse:
        """Parked events, oldest first."""
        found = await dead_letters.parked(
            self._database,
            self._process,
            after=UUID(request.after_id) if request.after_id else None,
            size=request.page_size,
        )
        return pb.ListParkedResponse(dead_letters=[self._message(letter) for letter in found])

    async def request_replay(
        self, request: pb.RequestReplayRequest, context: RequestContext
    ) -> pb.RequestReplayResponse:
        """Mark events for the running process to handle again."""
        ids = [UUID(each) for each in request.dead_letter_ids]
        requested = await dead_letters.request_replay(self._database, self._process, ids or None)
        return pb.RequestReplayResponse(requested=requested)

    def _message(self, letter: DeadLetter) -> pb.DeadLetter:
        return pb.DeadLetter(
            id=str(letter.id),
            process=self._process,
            stream=letter.stream,
            subject=letter.subject,
            type=letter.type,
            organization_id=letter.organization_id,
            deliveries=letter.deliveries,
            error=letter.error,
            parked_at=_timestamp(letter.parked_at),
            replay_requested_at=_timestamp(letter.replay_requested_at),
        )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
