"""Links decisions into the chain of their organization and day, soon after they were made, so that deciding waits for no chain.

Their order is that of transactions. A transaction that is older than every one that still runs can add nothing any more: up to
there all is linked, and what comes later follows it.
"""

from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase, TenantSession
from chassis.scheduler import Scheduler
from services.sending.suppression.decisions.chain import Decision, Link, content_of, hash_of

_INTERVAL = timedelta(seconds=5)
_MOST_IN_A_SET = 200

# For the scheduler's role. No transaction runs for long enough to add to a day that has been over for ten minutes.
_ORGANIZATIONS_TO_LINK = text("""
    SELECT DISTINCT organization_id, organization_id AS id FROM sending.decision_chains AS chain
    WHERE closed_at IS NULL AND (
        now() AT TIME ZONE 'UTC' >= day + interval '1 day 10 minutes' OR EXISTS (
            SELECT FROM sending.decisions AS decision
            WHERE decision.organization_id = chain.organization_id AND decision.day = chain.day
              AND decision.transaction > chain.linked_transaction
        )
    )
    LIMIT 256
""")
_OPEN_DAYS = text("SELECT day FROM decision_chains WHERE closed_at IS NULL ORDER BY day")
_HOLD = text("""
    SELECT length, head, linked_transaction::text, linked_id FROM decision_chains WHERE day = :day FOR UPDATE
""")
_NOT_LINKED = text("""
    SELECT day, transaction::text, id, decided_at, gate, batch_id, list_version, allowed, denied, reasons FROM decisions
    WHERE day = :day AND (transaction, id) > (CAST(:linked_transaction AS xid8), CAST(:linked_id AS uuid))
      AND transaction < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY decisions.transaction, id LIMIT :most
""")
_LINK = text("""
    INSERT INTO decision_links (day, sequence, transaction, decision_id, hash)
    SELECT :day, sequence, transaction::xid8, decision_id, hash FROM unnest(
        CAST(:sequences AS bigint[]), CAST(:transactions AS text[]), CAST(:ids AS uuid[]), CAST(:hashes AS bytea[])
    ) AS linked (sequence, transaction, decision_id, hash)
""")
_ADVANCE = text("""
    UPDATE decision_chains
    SET length = :length, head = :head, linked_transaction = CAST(:transaction AS xid8), linked_id = :id
    WHERE day = :day
""")
_CLOSE = text("""
    UPDATE decision_chains SET closed_at = now()
    WHERE day = :day AND now() AT TIME ZONE 'UTC' >= day + interval '1 day 10 minutes' AND NOT EXISTS (
        SELECT FROM decisions AS decision
        WHERE decision.organization_id = decision_chains.organization_id AND decision.day = decision_chains.day
          AND (decision.transaction, decision.id) > (linked_transaction, linked_id)
    )
""")
# From now on the organization has decisions that become too old.
_KEEP_AN_EYE_ON = text("INSERT INTO event_retention DEFAULT VALUES ON CONFLICT DO NOTHING")


class Linking:
    """Looks after the chains of all organizations."""

    def __init__(self, database: Database, scheduler: RoleDatabase) -> None:
        self._database = database
        self._scheduler = Scheduler(
            scheduler, _ORGANIZATIONS_TO_LINK, _INTERVAL, self._link_all, process="suppression"
        )

    async def run(self) -> None:
        """Run until cancelled."""
        await self._scheduler.run()

    async def round(self) -> int:
        """Link what can be linked now; answers of how many organizations that was."""
        return await self._scheduler.round()

    async def _link_all(self, context: RequestContext, _: object) -> None:
        async with self._database.tenant_transaction(context) as session:
            await session.execute(_KEEP_AN_EYE_ON)
            days = (await session.execute(_OPEN_DAYS)).scalars().all()
        for day in days:
            linked = _MOST_IN_A_SET
            while linked == _MOST_IN_A_SET:
                async with self._database.tenant_transaction(context) as session:
                    linked = await link(session, day)


async def link(session: TenantSession, day: date) -> int:
    """Link some of what was decided on a day and is in its chain not yet; answers how many decisions that was.

    A day that is over is closed with the last of them.
    """
    chain = (await session.execute(_HOLD, {"day": day})).one()
    # A statement of its own: it sees all that whoever held the chain before has linked.
    found = await session.execute(
        _NOT_LINKED,
        {
            "day": day,
            "linked_transaction": chain.linked_transaction,
            "linked_id": chain.linked_id,
            "most": _MOST_IN_A_SET,
        },
    )
    decisions = [Decision(**row) for row in found.mappings()]
    if decisions:
        await _append(session, decisions, chain.length, bytes(chain.head))
    if len(decisions) < _MOST_IN_A_SET:
        await session.execute(_CLOSE, {"day": day})
    return len(decisions)


async def _append(session: TenantSession, decisions: Sequence[Decision], length: int, head: bytes) -> None:
    hashes = []
    for sequence, decision in enumerate(decisions, start=length + 1):
        head = hash_of(content_of(session.context.organization, decision, Link(sequence, head)))
        hashes.append(head)
    last = decisions[-1]
    await session.execute(
        _LINK,
        {
            "day": last.day,
            "sequences": list(range(length + 1, length + 1 + len(decisions))),
            "transactions": [decision.transaction for decision in decisions],
            "ids": [decision.id for decision in decisions],
            "hashes": hashes,
        },
    )
    await session.execute(
        _ADVANCE,
        {
            "day": last.day,
            "length": length + len(decisions),
            "head": head,
            "transaction": last.transaction,
            "id": last.id,
        },
    )
