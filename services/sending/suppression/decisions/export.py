"""The decisions of an organization on one day, as the lines of a file that says by itself whether it is whole."""

from collections.abc import AsyncIterator
from datetime import date

from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database
from services.sending.suppression.decisions.chain import BEGINNING, Decision, Link, content_of, written

_PAGE = 500
_COLUMNS = """decision.day, decision.transaction::text, decision.id, decision.decided_at, decision.gate, decision.batch_id,
              decision.list_version, decision.allowed, decision.denied, decision.reasons"""
_LINKED = text(f"""
    SELECT {_COLUMNS}, link.sequence, link.hash FROM decision_links AS link
    JOIN decisions AS decision ON decision.organization_id = link.organization_id AND decision.day = link.day
     AND decision.transaction = link.transaction AND decision.id = link.decision_id
    WHERE link.day = :day AND link.sequence > :after ORDER BY link.sequence LIMIT :size
""")  # noqa: S608 - of our own words alone
_NOT_LINKED = text(f"""
    SELECT {_COLUMNS} FROM decisions AS decision JOIN decision_chains AS chain
      ON chain.organization_id = decision.organization_id AND chain.day = decision.day
     AND (decision.transaction, decision.id) > (chain.linked_transaction, chain.linked_id)
    WHERE decision.day = :day ORDER BY decision.transaction, decision.id
""")  # noqa: S608


async def lines_of(database: Database, context: RequestContext, day: date) -> AsyncIterator[bytes]:
    """A JSON object a line for each decision of the context's organization: the chain in its order, then what is not linked yet."""
    after, previous_hash = 0, BEGINNING
    while True:
        async with database.tenant_transaction(context, read_only=True) as session:
            found = await session.execute(_LINKED, {"day": day, "after": after, "size": _PAGE})
            page = [dict(row) for row in found.mappings()]
            if not page:
                rest = [
                    Decision(**row) for row in (await session.execute(_NOT_LINKED, {"day": day})).mappings()
                ]
                break
        for row in page:
            link, kept = Link(row.pop("sequence"), previous_hash), bytes(row.pop("hash"))
            content = content_of(context.organization, Decision(**row), link)
            yield _line(content | {"hash": kept.hex()})
            after, previous_hash = link.sequence, kept
    for decision in rest:
        yield _line(content_of(context.organization, decision, None) | {"hash": None})


def _line(content: dict[str, object]) -> bytes:
    return written(content) + b"\n"
