"""A turn of one connection's sync: it is taken up, goes on under its lease for a while, and ends, waits, or leaves the next turn to others.

No transaction is open while a CRM answers. The lease is kept by a heartbeat beside the steps, as a step takes as long as the CRM does; whoever
cannot renew it stops before it runs out, and so does whoever finds the connection gone or the plan without CRMs.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic
from traceback import extract_tb
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import Row

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import DeadlineExceeded, NotFound, Unavailable
from chassis.logs import about, logger
from flownurture.integrations.v1.events_pb2 import SyncCompleted, SyncFailed
from flownurture.integrations.v1.syncs_pb2 import SyncCounts
from services.integrations import connections
from services.integrations.connections import Connection, Status
from services.integrations.credentials import Credentials, Disconnected
from services.integrations.crm.adapter import Crm
from services.integrations.crm.http_client import HttpClient
from services.integrations.crm.providers import PROVIDERS
from services.integrations.identity_peer import IdentityPeer
from services.integrations.offers import title_of
from services.integrations.sync import positions, syncs
from services.integrations.sync.contacts import Contacts
from services.integrations.sync.field_mappings import fields_to_sync
from services.integrations.sync.handing_over import HandingOver
from services.integrations.sync.run import Run, Scene, TurnOver
from services.integrations.sync.settling import Problem
from services.integrations.sync.syncs import LEASE, Lease, LeaseLost, Trigger
from services.integrations.sync.verdicts import (
    BELOW_PLAN,
    BELOW_PLAN_PAUSE,
    GAVE_UP,
    MOST_ATTEMPTS,
    BelowPlan,
    Failed,
    is_ours,
    jittered,
    verdict,
)

# After this long others get their turn, so that a large sync does not keep small ones waiting.
TURN_SECONDS = 30.0
BEAT_SECONDS = 4.0
# How long a sync goes on at most after the plan has ended.
PLAN_SECONDS = 20.0
_IDENTITY_AWAY_PAUSE = timedelta(seconds=15)
# Whoever has failed for long is tried less often.
_LONGEST_PAUSE = timedelta(hours=6)

Work: TypeAlias = Coroutine[None, None, None]


class Turns:
    """Takes turns; `every` is the pause between a connection's syncs."""

    def __init__(
        self,
        database: Database,
        credentials: Credentials,
        http: HttpClient,
        contacts: Contacts,
        identity: IdentityPeer,
        *,
        every: timedelta,
    ) -> None:
        self._database = database
        self._credentials = credentials
        self._http = http
        self._contacts = contacts
        self._identity = identity
        self._every = every

    async def take(self, context: RequestContext, connection_id: UUID) -> None:
        """Go on with the sync that is under way, or begin the one that is due; nothing happens where somebody else does, or there is none."""
        with about(context):
            if (pause := await self._put_off(context)) is not None:
                async with self._database.tenant_transaction(context) as session:
                    await positions.put_off(session, connection_id, pause)
                    await syncs.put_off(session, connection_id, pause, BELOW_PLAN)
                return
            since = monotonic()
            async with self._database.tenant_transaction(context) as session:
                taken = await _taken(session, connection_id)
            if taken is not None:
                connection, lease, attempts = taken
                await self._go_on(context, connection, lease, attempts, since)

    async def _put_off(self, context: RequestContext) -> timedelta | None:
        """How long nothing may be done, if so."""
        try:
            return None if await self._identity.may_connect(context) else jittered(BELOW_PLAN_PAUSE)
        except (Unavailable, DeadlineExceeded):
            return jittered(_IDENTITY_AWAY_PAUSE)

    async def _go_on(
        self, context: RequestContext, connection: Connection, lease: Lease, attempts: int, since: float
    ) -> None:
        try:
            if attempts > MOST_ATTEMPTS:
                await self._end(context, connection, lease, Failed(GAVE_UP))
                return
            problems: list[Problem] = []
            await _first_to_end(
                self._run(context, connection, lease, problems),
                self._keep(context, lease, since),
                self._watch(context),
            )
            await self._end(context, connection, lease, None, problems)
        except (LeaseLost, Disconnected, NotFound):
            logger().info("sync_stopped", id=str(lease.sync_id))
        except (TurnOver, asyncio.CancelledError) as stop:
            await self._let_go(context, lease)
            if isinstance(stop, asyncio.CancelledError):
                raise
        except Exception as error:
            if is_ours(error):
                # Without its text, which may hold what stands in contacts.
                logger().error(
                    "sync_broke", id=str(lease.sync_id), error=type(error).__name__, at=_place(error)
                )
            await self._judge(context, connection, lease, error)

    async def _run(
        self, context: RequestContext, connection: Connection, lease: Lease, problems: list[Problem]
    ) -> None:
        crm = self._crm(context, connection)
        fitted = await fields_to_sync(self._database, context, connection.id, crm, self._contacts)
        problems += [Problem(None, "", each) for each in fitted.problems]
        ends = monotonic() + TURN_SECONDS
        scene = Scene(
            connection.id,
            crm,
            self._contacts,
            fitted.fields,
            title_of(connection.provider),
            lambda: monotonic() > ends,
        )
        await Run(self._database, context, lease, scene).go_to_the_end()
        # Last, so that contacts have the first of an account's calls.
        problems += await HandingOver(self._database, context, lease, crm).hand_over()

    def _crm(self, context: RequestContext, connection: Connection) -> Crm:
        return PROVIDERS[connection.provider].crm(self._http, self._credentials.access(context, connection))

    async def _keep(self, context: RequestContext, lease: Lease, since: float) -> None:
        """Renew the lease, until somebody else has it. Raises LeaseLost."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            begun = monotonic()
            try:
                async with (
                    asyncio.timeout(BEAT_SECONDS),
                    self._database.tenant_transaction(context) as session,
                ):
                    await syncs.fence(session, lease)
            except (TimeoutError, Unavailable):
                if monotonic() + 2 * BEAT_SECONDS > since + LEASE.total_seconds():
                    raise LeaseLost from None
            else:
                since = begun

    async def _watch(self, context: RequestContext) -> None:
        """Look whether the plan includes it still. Raises BelowPlan."""
        while True:
            await asyncio.sleep(PLAN_SECONDS)
            with suppress(Unavailable, DeadlineExceeded):
                if not await self._identity.may_connect(context):
                    raise BelowPlan

    async def _judge(
        self, context: RequestContext, connection: Connection, lease: Lease, error: Exception
    ) -> None:
        try:
            async with self._database.tenant_transaction(context) as session:
                judged = verdict(error, await syncs.fence(session, lease))
                if not isinstance(judged, Failed):
                    await syncs.wait(session, lease, judged.pause, judged.why, counts=judged.counts)
                    return
            await self._end(context, connection, lease, judged)
        except LeaseLost:
            return

    async def _end(
        self,
        context: RequestContext,
        connection: Connection,
        lease: Lease,
        failed: Failed | None,
        problems: Sequence[Problem] = (),
    ) -> None:
        async with self._database.tenant_transaction(context) as session:
            present = await connections.hold_connection(session, connection.id)
            if present is None:
                raise LeaseLost
            await syncs.fence(session, lease)
            await syncs.add_problems(session, lease, problems)
            ended = await syncs.finish(session, lease, failure=failed.why if failed else "")
            session.publish(_told(connection, ended))
            if failed is None:
                await connections.note_synced(session, connection.id)
                await positions.come_again(session, connection.id, jittered(self._every))
            else:
                await self._fail(session, connection, present, failed)

    async def _fail(
        self, session: TenantSession, connection: Connection, present: Connection, failed: Failed
    ) -> None:
        # Whoever has connected again meanwhile is not told that what was there before is refused.
        if failed.refused and present.updated_at == connection.updated_at:
            await connections.ask_for_authorization(session, connection.id, failed.why)
        elif present.status is Status.ACTIVE:
            await connections.note_failure(session, connection.id, failed.why)
            await positions.come_again(session, connection.id, jittered(self._longer(present)))

    def _longer(self, connection: Connection) -> timedelta:
        """The pause after a failure: as long as nothing has gone well."""
        failing = datetime.now(UTC) - (connection.last_sync_at or connection.created_at)
        return max(self._every, min(failing, _LONGEST_PAUSE))

    async def _let_go(self, context: RequestContext, lease: Lease) -> None:
        try:
            async with self._database.tenant_transaction(context) as session:
                await syncs.release(session, lease)
        except Unavailable:
            logger().warning("lease_not_released", id=str(lease.sync_id))


async def _taken(session: TenantSession, connection_id: UUID) -> tuple[Connection, Lease, int] | None:
    """The sync to go on with, and how many turns in a row have come no further, with this one."""
    connection = await connections.hold_connection(session, connection_id)
    if connection is None:
        return None
    claimed = await syncs.claim_of(session, connection_id)
    if claimed is None and await positions.take_due(session, connection_id):
        begun = await syncs.start(session, connection_id, Trigger.SCHEDULE)
        claimed = await syncs.claim(session, begun.id)
    if claimed is None:
        return None
    lease, row = claimed
    return connection, lease, row.attempts


def _told(connection: Connection, ended: Row[Any]) -> SyncCompleted | SyncFailed:
    counts = SyncCounts(**{name: getattr(ended, name) for name in syncs.COUNTS})
    about_it: dict[str, Any] = {
        "sync_id": str(ended.id),
        "connection_id": str(connection.id),
        "provider": connections.provider_value(connection.provider),
        "counts": counts,
    }
    return SyncFailed(**about_it, error=ended.error) if ended.error else SyncCompleted(**about_it)


async def _first_to_end(*works: Work) -> None:
    """Do all of these until one ends, and cut the others off. Raises what that one raises."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in ended:
            task.result()


def _place(error: Exception) -> str:
    """Where it came from."""
    frames = extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
