"""What a migration says to PostgreSQL, without a database: for whoever reads it before it is applied."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import postgresql

from chassis.migrations.upgrade import scripts


@dataclass(frozen=True, slots=True)
class Rendered:
    """One script: its module, where it stands, and its statements."""

    revision: str
    path: Path
    module: ModuleType
    sql: str


def rendered(schema: str, versions: Path, after: str | None) -> Iterator[Rendered]:
    """The scripts of a folder after a revision, in their order; of none, all of them."""
    found = scripts(versions).walk_revisions(base=after or "base", head="heads")
    for script in reversed(list(found)):
        if script.revision != after:
            sql = _statements(script.module, schema)
            yield Rendered(script.revision, Path(script.path), script.module, sql)


def _statements(script: ModuleType, schema: str) -> str:
    written = StringIO()
    context = MigrationContext.configure(
        # As PostgreSQL reads it: other styles of parameters double each per cent sign.
        dialect=postgresql.dialect(paramstyle="named"),  # type: ignore[no-untyped-call]
        opts={"as_sql": True, "output_buffer": written, "version_table_schema": schema},
    )
    with Operations.context(context), context.begin_transaction(_per_migration=True):
        script.upgrade()
    return f"BEGIN;\n\n{written.getvalue()}COMMIT;\n"
