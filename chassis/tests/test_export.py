"""What a schema holds of an organization is given to its last row, in sets, and nothing of anybody else."""

import json
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database
from chassis.export import Export, ExportRules, NotDeclared, RowSet, in_hex
from chassis.export_service import pieces
from chassis.tests.probe import Probe

RULES = ExportRules(left_out={"things.sealed_note": "secret: a note", "elsewhere": "working state"})
_THINGS = text(
    "INSERT INTO things (name, due_at) SELECT CAST(:name AS text) || number, '2026-01-31 10:00+01' FROM generate_series(1, :number) AS number"
)
_PARTS = text("INSERT INTO parts (thing_id) SELECT id FROM things")


async def fill(database: Database, context: RequestContext, number: int, name: str = "thing ") -> None:
    async with database.tenant_transaction(context) as session:
        await session.execute(_THINGS, {"number": number, "name": name})
        await session.execute(_PARTS)


async def sets_of(export: Export, context: RequestContext) -> list[RowSet]:
    return [found async for found in export.sets(context)]


def rows_of(sets: list[RowSet], table: str) -> list[dict[str, Any]]:
    return [json.loads(row) for found in sets if found.table == table for row in found.rows]


async def test_every_row_of_an_organization_is_given_once_whatever_a_set_may_hold_and_nobody_elses(
    database: Database, probe: Probe, context: RequestContext
) -> None:
    await fill(database, context, 7)
    await fill(database, RequestContext.of_process("probe", uuid4()), 3, "another's ")
    for most in (2, 7, 8):
        sets = await sets_of(Export(database, probe.schema, RULES, most_in_a_set=most), context)
        assert max(len(found.rows) for found in sets) <= most
        things = rows_of(sets, "things")
        assert {thing["name"] for thing in things} == {f"thing {number}" for number in range(1, 8)}
        assert len(things) == 7
        assert [part["thing_id"] for part in rows_of(sets, "parts")] == [thing["id"] for thing in things]
        assert {thing["due_at"] for thing in things} == {"2026-01-31T09:00:00+00:00"}
        assert rows_of(sets, "findings") == []
        assert {found.table for found in sets} == {"things", "parts", "findings"}


async def test_a_set_ends_with_the_row_that_makes_it_as_large_as_one_may_be(
    database: Database, probe: Probe, context: RequestContext
) -> None:
    await fill(database, context, 50, "x" * 1_000)
    export = Export(database, probe.schema, RULES, largest_set=10_000)
    sets = [found for found in await sets_of(export, context) if found.table == "things"]
    assert max(len(found.rows) for found in sets) <= 10
    assert sum(len(found.rows) for found in sets) == 50


async def test_nothing_is_held_in_the_database_while_whoever_reads_is_waited_for(
    database: Database, probe: Probe, context: RequestContext
) -> None:
    await fill(database, context, 4)
    sets = Export(database, probe.schema, RULES, most_in_a_set=2).sets(context)
    async for _ in sets:
        [(open_transactions,)] = probe.look(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND state LIKE 'idle in transaction%%'",
            f"{probe.schema}_app",
        )
        assert open_transactions == 0


async def test_a_column_of_bytes_of_which_nobody_says_how_it_is_given_ends_the_export(
    database: Database, probe: Probe, context: RequestContext
) -> None:
    with pytest.raises(NotDeclared, match=r"things\.sealed_note"):
        await sets_of(Export(database, probe.schema, ExportRules()), context)


async def test_bytes_are_given_as_they_are_said_to_be_read(
    database: Database, probe: Probe, context: RequestContext
) -> None:
    async with database.tenant_transaction(context) as session:
        await session.execute(text("INSERT INTO things (name, sealed_note) VALUES ('thing', '\\xc0ffee')"))
    rules = ExportRules(readable={"things.sealed_note": in_hex("sealed_note")})
    sets = await sets_of(Export(database, probe.schema, rules), context)
    assert rows_of(sets, "things")[0]["sealed_note"] == "c0ffee"


async def test_the_last_piece_says_what_there_was_and_what_was_left_out(
    database: Database, probe: Probe, context: RequestContext
) -> None:
    await fill(database, context, 3)
    export = Export(database, probe.schema, RULES)
    given = [piece async for piece in pieces(export, context)]
    whole = given[-1].whole
    assert not any(piece.HasField("whole") for piece in given[:-1])
    lines = b"".join(piece.lines for piece in given).decode().splitlines()
    counted = Counter(json.loads(line)["table"] for line in lines)
    assert dict(whole.rows) == {"things": 3, "parts": 3, "findings": 0} == {**counted, "findings": 0}
    assert (whole.revision, whole.left_out["things.sealed_note"]) == ("0001", "secret: a note")
    # Of what there is, and of nothing that other schemas have.
    of_the_chassis = {"outbox", "inbox", "idempotency_keys", "data_keys", "erasures"}
    assert whole.left_out.keys() == {"things.sealed_note"} | of_the_chassis
