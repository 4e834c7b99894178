"""A sync at work: page by page both sides are brought together, and each page is committed with where the sync has arrived."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from services.integrations.crm.adapter import Crm
from services.integrations.crm.errors import CursorLost, RateLimited
from services.integrations.sync import outgoing_changes, positions
from services.integrations.sync.contacts import Contacts
from services.integrations.sync.links import cut_links, keep
from services.integrations.sync.mapped_fields import MappedFields
from services.integrations.sync.pairing import Paired, Pairing
from services.integrations.sync.reading import read_changes
from services.integrations.sync.settling import Settled, Settling
from services.integrations.sync.syncs import Lease, Phase, advance, fence

# Three of HubSpot's.
PAGE = 600


@dataclass(frozen=True, slots=True)
class Scene:
    """What a sync works with."""

    connection_id: UUID
    crm: Crm
    contacts: Contacts
    fields: MappedFields
    # What the suppression list says of opt-outs that the CRM tells.
    note: str
    # Asked after each step: others are to get their turn.
    is_over: Callable[[], bool] = lambda: False


class TurnOver(Exception):
    """Others get their turn. What was done is committed."""


# Notes, in a step's transaction, where it has arrived.
Arrive: TypeAlias = Callable[[TenantSession], Awaitable[None]]


class Run:
    """One sync, under its lease. Any step may be cut off, and is done again from its beginning."""

    def __init__(self, database: Database, context: RequestContext, lease: Lease, scene: Scene) -> None:
        self._database = database
        self._context = context
        self._lease = lease
        self._scene = scene
        self._pairing = Pairing(scene.connection_id, database, scene.contacts, scene.crm, scene.fields)
        self._settling = Settling(scene.connection_id, scene.crm, scene.contacts, scene.fields, scene.note)

    async def go_to_the_end(self) -> None:
        """Bring everything in step that has changed until now. Raises LeaseLost, TurnOver, what the CRM raises, and what our services do."""
        await self._records()
        await self._all_contacts()
        await self._changed_contacts()

    async def _records(self) -> None:
        cursor = (await self._position()).cursor
        is_last = False
        while not is_last:
            try:
                page = await read_changes(self._scene.crm, cursor, self._scene.fields.properties, PAGE)
            except CursorLost:
                cursor = None
                await self._commit(Phase.RECORDS, Paired([]), Settled(), self._at(cursor=None))
                continue
            paired = await self._pairing.of_records(self._context, page.records)
            settled = await self._settling.settle(self._context, paired.pairs, paired.opted_out)
            settled.tally["records_read"] += len(page.records)
            await self._commit(Phase.RECORDS, paired, settled, self._at(cursor=page.cursor))
            if page.wait:
                raise RateLimited(page.wait)
            cursor, is_last = page.cursor, page.is_last

    async def _all_contacts(self) -> None:
        position = await self._position()
        if position.told_all_contacts:
            return
        batches = self._scene.contacts.stream(
            self._context, self._scene.fields.names, position.contacts_until
        )
        async for batch in batches:
            # Whoever was linked meanwhile is in step, or has changed since and is among those who have.
            paired = await self._pairing.of_strangers(self._context, batch)
            settled = await self._settling.settle(self._context, paired.pairs)
            settled.tally["contacts_read"] += len(batch.ids)
            await self._commit(Phase.ALL_CONTACTS, paired, settled, self._at(contacts_until=batch.ids[-1]))
        await self._commit(Phase.ALL_CONTACTS, Paired([]), Settled(), self._at(told_all_contacts=True))

    async def _changed_contacts(self) -> None:
        """Each once: what changes meanwhile is the next sync's."""
        async with self._database.tenant_transaction(self._context, read_only=True) as session:
            last = await outgoing_changes.newest(session, self._scene.connection_id)
        while last is not None:
            async with self._database.tenant_transaction(self._context, read_only=True) as session:
                told = await outgoing_changes.some(session, self._scene.connection_id, until=last, most=PAGE)
            if not told:
                return
            found = await self._scene.contacts.read(self._context, list(told), self._scene.fields.names)
            paired = await self._pairing.of_contacts(self._context, list(found.values()))
            settled = await self._settling.settle(self._context, paired.pairs)
            settled.tally["contacts_read"] += len(told)

            async def drop(session: TenantSession, told: dict[UUID, UUID] = told) -> None:
                await outgoing_changes.drop(session, self._scene.connection_id, told)

            await self._commit(Phase.CONTACTS, paired, settled, drop)

    def _at(self, **reached: object) -> Arrive:
        async def arrive(session: TenantSession) -> None:
            await positions.move(session, self._scene.connection_id, **reached)

        return arrive

    async def _position(self) -> positions.Position:
        async with self._database.tenant_transaction(self._context, read_only=True) as session:
            return await positions.position_of(session, self._scene.connection_id)

    async def _commit(self, phase: Phase, paired: Paired, settled: Settled, arrive: Arrive) -> None:
        connection_id = self._scene.connection_id
        async with self._database.tenant_transaction(self._context) as session:
            await fence(session, self._lease)
            await cut_links(session, connection_id, paired.cut)
            await keep(session, connection_id, settled.links)
            await arrive(session)
            # After what is dropped, or it would be dropped with it.
            await outgoing_changes.note_again(session, connection_id, settled.again)
            await advance(session, self._lease, phase, settled.tally, [*paired.problems, *settled.problems])
        if self._scene.is_over():
            raise TurnOver
