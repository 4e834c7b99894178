"""A migration that the processes of the last release could not bear, or would wait for, is refused; one that adds is not."""

from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import pytest
from typer.testing import CliRunner

from chassis.migrations.offline import rendered
from chassis.migrations.runner import versions_of
from deploy.database.roles import role_list
from deploy.releases.__main__ import app
from deploy.releases.check import objections
from deploy.releases.releases import releases

RELEASED = ("0.1.0", "0.2.0")

Objected = Callable[..., set[str]]


@pytest.fixture
def objected(tmp_path: Path) -> Objected:
    """The rules by which a script of these statements is refused."""

    def ask(*statements: str, unused_since: str = "") -> set[str]:
        said = f'unused_since = "{unused_since}"\n' if unused_since else ""
        body = "\n    ".join(statements)
        # Of a script that another took the place of within a second, Python would run what it has compiled.
        folder = Path(mkdtemp(dir=tmp_path))
        (folder / "0001_it.py").write_text(
            f"from alembic import op\nfrom chassis.migrations.ddl import *\n"
            f'revision = "0001"\ndown_revision = None\n{said}\ndef upgrade():\n    {body}\n'
        )
        (script,) = rendered("notes", folder, None)
        return {objection.rule for objection in objections(script, RELEASED)}

    return ask


def sql(statement: str) -> str:
    return f'op.execute("""{statement}""")'


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("ALTER TABLE notes ADD COLUMN a text NOT NULL", "adding-required-field"),
        ("ALTER TABLE notes ADD COLUMN a timestamptz DEFAULT clock_timestamp()", "adding-field-with-default"),
        ("ALTER TABLE notes ALTER COLUMN a SET NOT NULL", "adding-not-nullable-field"),
        ("ALTER TABLE notes ALTER COLUMN a TYPE bigint", "changing-column-type"),
        ("ALTER TABLE notes RENAME COLUMN a TO b", "renaming-column"),
        ("ALTER TABLE notes RENAME TO letters", "renaming-table"),
        ("ALTER TABLE notes ADD CONSTRAINT once UNIQUE (a)", "disallowed-unique-constraint"),
        ("ALTER TABLE notes ADD CONSTRAINT small CHECK (a < 9)", "constraint-missing-not-valid"),
        ("ALTER TABLE notes ADD FOREIGN KEY (a) REFERENCES letters", "adding-foreign-key-constraint"),
        ("ALTER TABLE notes ADD PRIMARY KEY (a)", "adding-serial-primary-key-field"),
        ("CREATE INDEX notes_a ON notes (a)", "require-concurrent-index-creation"),
        ("DROP INDEX notes_a", "require-concurrent-index-deletion"),
        ("REINDEX TABLE notes", "require-concurrent-reindex"),
        ("LOCK TABLE notes", "lock-table"),
        ("CLUSTER notes USING notes_a", "lock-table"),
        ("TRUNCATE notes", "lock-table"),
    ],
)
def test_what_locks_for_long_or_means_something_else_to_an_older_process_is_never_let_through(
    objected: Objected, statement: str, rule: str
) -> None:
    assert rule in objected(sql(statement))
    assert rule in objected(sql(statement), unused_since="0.2.0")


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("DROP TABLE notes", "ban-drop-table"),
        ("ALTER TABLE notes DROP COLUMN a", "ban-drop-column"),
        ("ALTER TABLE notes ALTER COLUMN a DROP NOT NULL", "ban-drop-not-null"),
        ("ALTER TABLE notes ALTER COLUMN a DROP DEFAULT", "ban-drop-default"),
        ("ALTER TABLE notes DROP CONSTRAINT once", "ban-drop-constraint"),
        ("DROP VIEW read_notes", "ban-drop-view"),
        ("DROP FUNCTION count_notes()", "ban-drop-function"),
        ("DROP TYPE mood", "ban-drop-type"),
        ("DROP TRIGGER noted ON notes", "drop-trigger"),
        ("DROP POLICY tenant ON notes", "drop-policy"),
        ("REVOKE INSERT ON notes FROM notes_app", "revoke"),
    ],
)
def test_what_is_taken_away_says_since_which_release_nobody_uses_it(
    objected: Objected, statement: str, rule: str
) -> None:
    assert objected(sql(statement)) == {rule}
    assert objected(sql(statement), unused_since="0.3.0") == {rule}
    assert objected(sql(statement), unused_since="0.2.0") == set()


@pytest.mark.parametrize(
    "statements",
    [
        (sql("ALTER TABLE notes ADD COLUMN a text"),),
        (sql("ALTER TABLE notes ADD COLUMN a text NOT NULL DEFAULT ''"),),
        (sql("ALTER TABLE notes ADD CONSTRAINT small CHECK (a LIKE '%s') NOT VALID"),),
        (sql("ALTER TABLE notes VALIDATE CONSTRAINT small"),),
        (sql("ALTER TABLE notes ADD FOREIGN KEY (a) REFERENCES letters NOT VALID"),),
        (
            "with op.get_context().autocommit_block():",
            f"    {sql('CREATE INDEX CONCURRENTLY notes_a ON notes (a)')}",
        ),
        (
            'op.execute(f"CREATE TABLE letters ({ORGANIZATION_ID}, id integer, PRIMARY KEY (organization_id, id))")',
            sql("CREATE UNIQUE INDEX letters_id ON letters (organization_id, id)"),
            'protect("letters")',
            'open_to("notes_scheduler", "letters", "SELECT", columns=["id"])',
        ),
        (
            sql("CREATE POLICY backfill ON notes TO notes_owner USING (true) WITH CHECK (true)"),
            sql("UPDATE notes SET text = trim(text)"),
            sql("DROP POLICY backfill ON notes"),
        ),
    ],
)
def test_what_adds_is_let_through(objected: Objected, statements: tuple[str, ...]) -> None:
    assert objected(*statements) == set()


def test_the_migrations_since_the_last_release_can_be_applied_while_it_runs() -> None:
    answer = CliRunner().invoke(app, ["check"])
    assert answer.exit_code == 0, answer.output


def test_each_release_names_a_migration_of_each_schema_that_there_is() -> None:
    for release in releases():
        assert release.migrations.keys() == set(role_list().schemas)
        for schema, revision in release.migrations.items():
            assert list(versions_of(f"services.{schema}").glob(f"{revision}_*.py")), (schema, revision)
