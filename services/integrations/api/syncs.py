"""SyncService: decode, call the domain, encode."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Row

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.identifiers import parse_id
from chassis.pagination import decode_cursor, next_cursor, page_size
from flownurture.integrations.v1 import syncs_pb2 as pb
from services.integrations import connections
from services.integrations.api.fields import timestamp
from services.integrations.offers import Offers
from services.integrations.sync import syncs
from services.integrations.sync.syncs import COUNTS, Phase, SyncStatus, Trigger

_STATUSES = {each.value: pb.SyncStatus.Value(f"SYNC_STATUS_{each.name}") for each in SyncStatus}
_TRIGGERS = {each.value: pb.SyncTrigger.Value(f"SYNC_TRIGGER_{each.name}") for each in Trigger}
_PHASES = {each.value: pb.SyncPhase.Value(f"SYNC_PHASE_{each.name}") for each in Phase}


class SyncApi:
    """Syncs of connections; `begun` is called for each that is asked for."""

    service = pb.DESCRIPTOR.services_by_name["SyncService"]

    def __init__(self, offers: Offers, begun: Callable[[], None]) -> None:
        self._offers = offers
        self._begun = begun

    async def start_sync(
        self, request: pb.StartSyncRequest, context: RequestContext, session: TenantSession
    ) -> pb.Sync:
        """Begin one, or the one that is under way; NOT_FOUND, CONFLICT."""
        connection_id = parse_id(request.connection_id)
        connection = await connections.hold_connection(session, connection_id)
        if connection is None:
            raise connections.no_such(connection_id)
        self._offers.of(connection.provider)
        begun = await syncs.request(session, connection)
        self._begun()
        return _as_message(begun)

    async def get_sync(
        self, request: pb.GetSyncRequest, context: RequestContext, session: TenantSession
    ) -> pb.Sync:
        """The sync, or NOT_FOUND."""
        return _as_message(await self._sync(request, session))

    async def list_syncs(
        self, request: pb.ListSyncsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListSyncsResponse:
        """A connection's syncs, newest first, or NOT_FOUND."""
        size, before = page_size(request.page_size), decode_cursor(request.page_token)
        connection = await connections.get_connection(session, parse_id(request.connection_id))
        found = await syncs.page_syncs(session, connection.id, before=before, size=size + 1)
        return pb.ListSyncsResponse(
            syncs=map(_as_message, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def list_sync_problems(
        self, request: pb.ListSyncProblemsRequest, context: RequestContext, session: TenantSession
    ) -> pb.ListSyncProblemsResponse:
        """A sync's problems, or NOT_FOUND."""
        size, after = page_size(request.page_size), decode_cursor(request.page_token)
        sync = await self._sync(request, session)
        found = await syncs.page_problems(session, sync.id, after=after, size=size + 1)
        return pb.ListSyncProblemsResponse(
            problems=map(_problem, found[:size]), next_page_token=next_cursor(found, size)
        )

    async def _sync(
        self, request: pb.GetSyncRequest | pb.ListSyncProblemsRequest, session: TenantSession
    ) -> Row[Any]:
        connection = await connections.get_connection(session, parse_id(request.connection_id))
        return await syncs.get_sync(session, connection.id, parse_id(request.sync_id))


def _as_message(sync: Row[Any]) -> pb.Sync:
    waits = sync.status == SyncStatus.WAITING
    return pb.Sync(
        id=str(sync.id),
        connection_id=str(sync.connection_id),
        trigger=_TRIGGERS[sync.trigger],
        status=_STATUSES[sync.status],
        phase=_PHASES[sync.phase],
        counts=pb.SyncCounts(**{name: getattr(sync, name) for name in COUNTS}),
        error=sync.error,
        waiting_until=timestamp(sync.lease_until) if waits else None,
        created_at=timestamp(sync.created_at),
        finished_at=timestamp(sync.finished_at),
    )


def _problem(problem: Row[Any]) -> pb.SyncProblem:
    return pb.SyncProblem(
        id=str(problem.id),
        contact_id=str(problem.contact_id or ""),
        record_id=problem.record_id,
        message=problem.message,
    )
