from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local.__main__ import app
from deploy.local.environment import process_environment
from deploy.local.plan import plan
from deploy.local.ports import VARIABLES, PortInvalid, Ports, choose
from deploy.local.premises import Premises
from deploy.local.state import StateFolder
from deploy.local.supervisor.program import PythonProgram
from deploy.processes import PROCESSES, settings_of


def premises(folder: Path, **variables: str) -> Premises:
    return Premises(StateFolder(folder), Ports(), variables)


def test_processes_see_nothing_of_the_environment_but_what_they_are_told(tmp_path: Path) -> None:
    built = plan(premises(tmp_path, PATH="/bin", CLOUD_PASSWORD="hunter2", LOG_LEVEL="DEBUG"))
    for room in built.processes:
        assert isinstance(room.program, PythonProgram)
        environment = room.program.environment
        assert "hunter2" not in "".join(environment.values()), room.name
        assert environment["LOG_LEVEL"] == "DEBUG"


def test_each_process_is_told_what_it_reads_and_nothing_else(tmp_path: Path) -> None:
    house = premises(tmp_path)
    for process in PROCESSES:
        told = process_environment(process, house.addresses, house.secrets).keys()
        fields = settings_of(process).model_fields
        assert told <= {name.upper() for name in fields}, process
        assert told >= {name.upper() for name, field in fields.items() if field.is_required()}, process


def test_only_migrations_are_told_the_administrator_of_the_database(tmp_path: Path) -> None:
    built = plan(premises(tmp_path, DATABASE_URL="postgresql://admin:hunter2@db.example:5432/postgres"))
    for room in built.processes:
        assert isinstance(room.program, PythonProgram)
        assert "hunter2" not in "".join(room.program.environment.values()), room.name


def test_no_two_listen_on_one_port(tmp_path: Path) -> None:
    built = plan(premises(tmp_path))
    urls = [room.url for room in (*built.servers, *built.processes)] + list(
        built.facts["metrics_urls"].values()
    )
    assert len(set(urls)) == len(urls)


@pytest.mark.parametrize(
    ("variable", "url", "server"),
    [
        ("DATABASE_URL", "postgresql://admin:secret@db.example:5432/postgres", "postgres"),
        ("NATS_URL", "nats://admin:secret@bus.example:4222", "nats"),
        ("REDIS_URL", "redis://cache.example:6379", "redis"),
    ],
)
def test_a_server_that_a_variable_names_is_not_started_again(
    tmp_path: Path, variable: str, url: str, server: str
) -> None:
    built = plan(premises(tmp_path, **{variable: url}))
    assert server not in {room.name for room in built.servers}
    (preparation,) = built.preparations
    assert server not in preparation.needs
    host = url.rpartition("@")[2].removeprefix("redis://").partition("/")[0]
    told = [room.program.environment for room in built.processes if isinstance(room.program, PythonProgram)]
    assert any(host in value for environment in told for value in environment.values())


def test_free_ports_are_kept_once_they_are_chosen_and_variables_win(tmp_path: Path) -> None:
    free = {"FLOWNURTURE_PORTS": "free"}
    chosen = choose(free, tmp_path / "ports.json")
    assert choose(free, tmp_path / "ports.json") == chosen
    assert choose(free | {"MAIL_PORT": "1234"}, tmp_path / "ports.json").mail == 1234


@pytest.mark.parametrize("value", ["http", "0", "65536", "-1", "80.5"])
def test_what_is_no_port_is_refused_by_its_variable(tmp_path: Path, value: str) -> None:
    with pytest.raises(PortInvalid, match=f"GATEWAY_PORT={value}"):
        choose({"GATEWAY_PORT": value}, tmp_path / "ports.json")


def test_the_help_of_up_names_every_variable_that_moves_a_port() -> None:
    answer = CliRunner().invoke(app, ["up", "--help"])
    for name, variable in VARIABLES.items():
        assert variable in answer.stdout, name
