"""`DeadLetterAdminService`: the events that processes gave up, for the platform's operators."""

from uuid import UUID

from chassis.context import PLATFORM, RequestContext
from chassis.database import Database
from chassis.errors import FieldViolation, InvalidRequest
from chassis.pagination import decode_cursor, encode_cursor, page_size
from flownurture.identity.v1 import dead_letters_pb2 as pb
from services.identity import audit
from services.identity.audit import Act, Facts
from services.identity.dead_letter_peers import DeadLetterPeers
from services.identity.sessions import home


class DeadLetterAdminService:
    """Asks the processes; nothing of theirs is kept here but that somebody asked for a replay."""

    service = pb.DESCRIPTOR.services_by_name["DeadLetterAdminService"]

    def __init__(self, database: Database, peers: DeadLetterPeers) -> None:
        self._database = database
        self._peers = peers

    async def list_dead_letters(
        self, request: pb.ListDeadLettersRequest, context: RequestContext
    ) -> pb.ListDeadLettersResponse:
        """Parked events, oldest first, of one process or of all; InvalidRequest for one that there is not."""
        processes = [self._known(request.process)] if request.process else self._peers.processes
        size = page_size(request.page_size)
        # One more than the page tells whether there is a next one.
        found, unreachable = await self._peers.parked(
            processes, after=decode_cursor(request.page_token), size=size + 1, context=context
        )
        return pb.ListDeadLettersResponse(
            dead_letters=found[:size],
            next_page_token=encode_cursor(UUID(found[size - 1].id)) if len(found) > size else "",
            unreachable=unreachable,
        )

    async def replay_dead_letters(
        self, request: pb.ReplayDeadLettersRequest, context: RequestContext
    ) -> pb.ReplayDeadLettersResponse:
        """Ask a process to handle events again; InvalidRequest for one that there is not, Unavailable."""
        process, ids = self._known(request.process), list(request.dead_letter_ids)
        which: Facts = {"dead_letter_ids": ids} if ids else {"all": True}
        # Written down before it is asked for: no replay is ever missing from the trail.
        async with self._database.tenant_transaction(home(context)) as session:
            await audit.record(
                session,
                Act.DEAD_LETTER_REPLAY_REQUESTED,
                PLATFORM,
                after={"process": process, **which},
            )
        requested = await self._peers.request_replay(process, ids, context)
        return pb.ReplayDeadLettersResponse(requested=requested)

    def _known(self, process: str) -> str:
        if process not in self._peers.processes:
            known = ", ".join(self._peers.processes)
            raise InvalidRequest(FieldViolation("process", f"must be one of {known}"))
        return process
