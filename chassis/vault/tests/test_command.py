"""The operator's commands, as an operator runs them."""

import asyncio
import json
from uuid import uuid4

import pytest
import typer
from typer.testing import CliRunner

from chassis.context import RequestContext
from chassis.database import Database
from chassis.tests.probe import Probe
from chassis.vault.command import add_key_commands
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.tests.conftest import key_encryption_key
from chassis.vault.tests.things import NOTES, Notes
from chassis.vault.vault import Vault
from chassis.vault.wrapping import DoesNotOpen

OLD, NEW = key_encryption_key(), key_encryption_key()


@pytest.fixture
def run(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> "Run":
    probe.look("DELETE FROM data_keys RETURNING 1")
    probe.look("DELETE FROM things RETURNING 1")
    for role, name in {
        "app": "DATABASE_URL",
        "relay": "DATABASE_RELAY_URL",
        "scheduler": "DATABASE_SCHEDULER_URL",
    }.items():
        monkeypatch.setenv(name, probe.url(role).reveal())
    monkeypatch.setenv("KEY_ENCRYPTION_KEYS", json.dumps({"new": NEW.reveal(), "old": OLD.reveal()}))
    app = typer.Typer()
    add_key_commands(app, probe.schema, [NOTES])
    return Run(app)


class Run:
    def __init__(self, app: typer.Typer) -> None:
        self._app = app

    def __call__(self, *arguments: str, answer: str | None = None) -> tuple[int, str]:
        result = CliRunner().invoke(self._app, list(arguments), input=answer)
        return result.exit_code, result.stdout


async def noted(database: Database, probe: Probe) -> Notes:
    vault = Vault(probe.schema, FileWrapping({"old": OLD}), known_organizations=0)
    notes = Notes(database, vault, RequestContext.of_process("probe", uuid4()))
    await notes.add("kept")
    return notes


async def ran(run: Run, *arguments: str, answer: str | None = None) -> tuple[int, str]:
    # A command has an event loop of its own.
    return await asyncio.to_thread(run, *arguments, answer=answer)


async def test_keys_are_wrapped_again(database: Database, probe: Probe, run: Run) -> None:
    notes = await noted(database, probe)
    assert await ran(run, "rewrap-keys") == (
        0,
        "1 of 1 keys wrapped again, 0 did not open\n",
    )
    notes.vault = Vault(probe.schema, FileWrapping({"new": NEW}))
    assert await notes.read() == notes.known


async def test_data_keys_that_are_young_are_not_replaced(database: Database, probe: Probe, run: Run) -> None:
    await noted(database, probe)
    assert await ran(run, "rotate-data-keys") == (
        0,
        "1 of 1 organizations, 0 keys made, 0 values sealed again, 0 did not open\n",
    )


async def test_an_organizations_keys_are_destroyed_when_it_is_confirmed(
    database: Database, probe: Probe, run: Run
) -> None:
    notes, other = await noted(database, probe), await noted(database, probe)
    organization = str(notes.context.organization)
    code, _ = await ran(run, "destroy-data-keys", organization, answer="n\n")
    assert code == 1
    assert await notes.read() == notes.known
    code, told = await ran(run, "destroy-data-keys", organization, "--yes")
    assert (code, told) == (0, "1 keys destroyed; processes that run forget them within a minute\n")
    with pytest.raises(DoesNotOpen):
        await notes.read()
    assert await other.read() == other.known


async def test_what_does_not_open_is_told_and_fails_the_command(
    database: Database, probe: Probe, run: Run
) -> None:
    notes = Notes(
        database,
        Vault(probe.schema, FileWrapping({"lost": key_encryption_key()})),
        RequestContext.of_process("probe", uuid4()),
    )
    await notes.add("lost")
    assert await ran(run, "rewrap-keys") == (
        1,
        "0 of 1 keys wrapped again, 1 did not open\n",
    )
