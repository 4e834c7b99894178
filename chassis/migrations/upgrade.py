"""One run of Alembic over a directory of migrations, without an `alembic.ini` or an `env.py`."""

from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine, make_url

from chassis.secret import Secret

# A migration that waits for a lock makes everybody wait behind it: better it gives up and is run again.
_LOCK_TIMEOUT = "5s"
_STATEMENT_TIMEOUT = "60s"


def scripts(versions: Path) -> ScriptDirectory:
    """The migrations of a folder."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("version_locations", str(versions))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def upgrade(owner_url: Secret, schema: str, versions: Path) -> list[str]:
    """Apply every migration after the schema's version, each in its own transaction; answers their revisions."""
    script = scripts(versions)
    applied: list[str] = []

    def steps(current: Any, _: object) -> list[Any]:
        found = script._upgrade_revs("head", current)
        applied.extend(step.revision.revision for step in found)
        return found

    engine = create_engine(
        make_url(owner_url.reveal()).set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        connect_args={
            "options": f"-c search_path={schema} -c lock_timeout={_LOCK_TIMEOUT} -c statement_timeout={_STATEMENT_TIMEOUT}"
        },
    )
    with (
        engine.connect() as connection,
        EnvironmentContext(Config(), script, fn=steps, destination_rev="head") as run,
    ):
        run.configure(connection=connection, version_table_schema=schema, transaction_per_migration=True)
        with run.begin_transaction():
            run.run_migrations()
    return applied
