"""All that a schema holds of an organization, as lines of JSON, read in sets. Why so: ADR 0059.

Which tables and columns there are is asked of the catalog: a new one is not forgotten.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from psycopg import sql
from sqlalchemy import text

from chassis.context import RequestContext
from chassis.database import Database
from chassis.migrations.runner import head

_MOST_IN_A_SET = 2_000
# A set ends with the row that brings it there, since a row may be a mail of two megabytes.
_LARGEST_SET = 1024 * 1024
# From the server at once.
_FETCHED = 20

# In every schema; the tables that services have of the chassis and of its vault.
_LEFT_OUT = MappingProxyType(
    {
        "outbox": "events on their way, which tell of what is in the other tables",
        "inbox": "which events were read",
        "idempotency_keys": "answers that are given again for a day",
        "data_keys": "secret: keys that seal what is stored",
        "erasures": "whether all of this is erased",
        "standstills": "whether nothing of it goes out, since it is to be erased",
    }
)

# Of a primary key what orders it, and not what its index includes.
_COLUMNS = text("""
    SELECT c.relname AS "table", a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
           array_position((i.indkey::int2[])[0 : i.indnkeyatts - 1], a.attnum) AS place_in_key
    FROM pg_class c
    JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relrowsecurity
      AND (c.relname = ANY(:narrowed) OR EXISTS (
          SELECT FROM pg_attribute o WHERE o.attrelid = c.oid AND o.attname = 'organization_id'))
      AND has_column_privilege(c.oid, a.attnum, 'SELECT')
    ORDER BY c.relname, a.attnum
""")


class NotDeclared(Exception):
    """A column holds bytes, and nobody says how they are given or why they are not."""


@dataclass(frozen=True, slots=True)
class ExportRules:
    """What of a schema is given otherwise than as PostgreSQL writes it in JSON, or is not given.

    `readable` says by `table.column`, in SQL, what stands in its place; `left_out` by table or `table.column` why it is not given: what is
    a secret begins with that word. `narrowed` are tables of the platform whose rows policies narrow to the organization's.
    """

    readable: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    narrowed: Sequence[str] = ()

    def reason_for_leaving_out(self, table: str, column: str) -> str | None:
        """Why a column is not given; None when it is."""
        for name in (table, f"{table}.{column}"):
            if reason := _LEFT_OUT.get(name) or self.left_out.get(name):
                return reason
        return None


@dataclass(frozen=True, slots=True)
class TableForm:
    """How a table's rows are read: by which columns in which order, and what of them is given."""

    name: str
    # With their types.
    key: Mapping[str, str]
    given: Mapping[str, sql.Composable]

    def set_of(self, most: int, *, after: bool) -> sql.Composed:
        """The query for a set: each row's key as texts, and the row as JSON. With `after`, what follows on the key that is given as parameters."""
        names = sql.SQL(", ").join(map(sql.Identifier, self.key))
        following: sql.Composable = sql.SQL("")
        ordered: sql.Composable = sql.SQL("")
        if after:
            values = sql.SQL(", ").join(_trusted(f"%s::{kind}") for kind in self.key.values())
            following = sql.SQL("WHERE ({}) > ({})").format(names, values)
        if self.key:
            ordered = sql.SQL("ORDER BY {}").format(names)
        return sql.SQL("""
            SELECT ARRAY[{key}]::text[], (SELECT row_to_json(given) FROM (SELECT {columns}) AS given)::text
            FROM {table} {following} {ordered} LIMIT {most}
        """).format(
            key=sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in self.key),
            columns=sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(what, sql.Identifier(name)) for name, what in self.given.items()
            ),
            table=sql.Identifier(self.name),
            following=following,
            ordered=ordered,
            most=most,
        )


@dataclass(frozen=True, slots=True)
class RowSet:
    """Some rows of a table, each a JSON object."""

    table: str
    rows: Sequence[str]


class Export:
    """Reads what the schema of a service holds of an organization. `package` is the service's, as `services.contacts`."""

    def __init__(
        self,
        database: Database,
        package: str,
        rules: ExportRules,
        *,
        most_in_a_set: int = _MOST_IN_A_SET,
        largest_set: int = _LARGEST_SET,
    ) -> None:
        self.service = package.rpartition(".")[2]
        # What tables and columns are called goes with it.
        self.revision = head(package)
        self.rules = rules
        self._database = database
        self._most = most_in_a_set
        self._largest = largest_set

    async def sets(self, context: RequestContext) -> AsyncIterator[RowSet]:
        """The rows of the context's organization, table by table; of an empty table a set without rows.

        A transaction for each set, and none while whoever reads is waited for: what stays as it is all the while is given once.
        """
        for table in await self.tables():
            after: Sequence[str] | None = None
            while True:
                rows, after = await self._set(table, after, context)
                yield RowSet(table.name, rows)
                if after is None:
                    break

    async def left_out(self) -> dict[str, str]:
        """What there is and is not given, as `table` or `table.column`, and why."""
        tables = {column.table for column in await self._columns()}
        reasons = {**_LEFT_OUT, **self.rules.left_out}
        return {name: reason for name, reason in reasons.items() if name.partition(".")[0] in tables}

    async def tables(self) -> list[TableForm]:
        """What is given. Raises NotDeclared."""
        tables = groupby(await self._columns(), key=attrgetter("table"))
        return [form for name, found in tables if (form := self._form(name, list(found)))]

    async def _columns(self) -> Sequence[Any]:
        async with self._database.platform_transaction() as connection:
            return (await connection.execute(_COLUMNS, {"narrowed": list(self.rules.narrowed)})).all()

    async def _set(
        self, table: TableForm, after: Sequence[str] | None, context: RequestContext
    ) -> tuple[list[str], Sequence[str] | None]:
        """Rows, and the key of the last one, or None where no more follow."""
        rows: list[str] = []
        last: Sequence[str] = ()
        size = 0
        async with self._database.tenant_transaction(context, read_only=True) as session:
            await session.driver.execute("SET LOCAL TIME ZONE 'UTC'")
            # Of the server's own, since rows of one set may be a thousand times as large as those of another.
            async with session.driver.cursor(name="rows") as cursor:
                cursor.itersize = _FETCHED
                await cursor.execute(table.set_of(self._most, after=after is not None), after or ())
                async for key, row in cursor:
                    rows.append(row)
                    last = key
                    size += len(row)
                    if size >= self._largest:
                        break
        is_end = not table.key or (len(rows) < self._most and size < self._largest)
        return rows, None if is_end else last

    def _form(self, table: str, columns: Sequence[Any]) -> TableForm | None:
        given = dict(self._given(table, columns))
        key = sorted(
            (each for each in columns if each.place_in_key is not None), key=attrgetter("place_in_key")
        )
        if not given:
            return None
        return TableForm(
            table, {each.name: each.type for each in key if each.name != "organization_id"}, given
        )

    def _given(self, table: str, columns: Sequence[Any]) -> Iterator[tuple[str, sql.Composable]]:
        for column in columns:
            place = f"{table}.{column.name}"
            # Whose all of it is, is said once.
            if column.name == "organization_id" or self.rules.reason_for_leaving_out(table, column.name):
                continue
            if place in self.rules.readable:
                yield column.name, _trusted(self.rules.readable[place])
            elif column.type == "bytea":
                raise NotDeclared(f"{place} holds bytes: say how they are given, or why they are not")
            else:
                yield column.name, sql.Identifier(column.name)


def in_hex(column: str) -> str:
    """A column of bytes as the hexadecimal digits that the API would show, in SQL."""
    return f"encode({column}, 'hex')"


def _trusted(words: str) -> sql.SQL:
    # Of the catalog's and our own, as declared beside the tables.
    return sql.SQL(words)
