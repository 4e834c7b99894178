"""What the doctor finds on this machine, and on one where something is missing."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local import doctor
from deploy.local.__main__ import app
from deploy.local.doctor import Finding
from deploy.local.servers import unprivileged
from deploy.local.state import StateFolder

FREE = {"FLOWNURTURE_PORTS": "free"}


def examined(folder: Path, **variables: str) -> dict[str, Finding]:
    return {finding.what: finding for finding in doctor.examine(StateFolder(folder), FREE | variables)}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A state folder that is not there yet."""
    yield tmp_path / "var"
    unprivileged.remove_outside(tmp_path / "var")


def test_servers_are_told_with_the_versions_that_really_run(folder: Path) -> None:
    findings = examined(folder)
    for server, words in (("PostgreSQL", "PostgreSQL) 18."), ("NATS", "nats-server: v2."), ("Redis", "v=")):
        assert findings[server].good
        assert words in findings[server].seen
    assert findings["Python"].good
    assert findings["packages"].good
    assert findings["user"].good
    assert findings["ports"].good


def test_looking_makes_no_secrets(folder: Path) -> None:
    examined(folder)
    assert not StateFolder(folder).secrets.exists()


def test_a_package_that_is_not_as_locked_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "dev.txt"
    lock.write_text("psutil==0.0.1 \\\n    --hash=sha256:00\nno-such-package==2.0 \\\n    --hash=sha256:00\n")
    monkeypatch.setattr(doctor, "_LOCK", lock)
    packages = examined(folder)["packages"]
    assert not packages.good
    assert packages.seen == "not as locked: psutil 0.0.1, no-such-package 2.0"
    assert "make install" in packages.remedy


def test_a_server_whose_wheel_is_missing_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.servers.redis._WHEEL", "no_such_wheel")
    findings = examined(folder)
    assert not findings["Redis"].good
    assert "make install" in findings["Redis"].remedy
    assert findings["NATS"].good


def test_a_taken_port_is_told_with_its_holder_and_what_to_do(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        found = examined(folder, MAIL_PORT=str(port))["ports"]
    assert not found.good
    assert f"Port {port} (mail) is taken" in found.remedy
    assert f"(pid {os.getpid()}). Set MAIL_PORT" in found.remedy


def test_a_state_folder_that_cannot_be_one_is_told_without_falling_over_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = examined(tmp_path / "file" / "var")["state"]
    assert not found.good
    assert "FLOWNURTURE_VAR" in found.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand over to somebody else")
def test_root_without_anybody_to_run_postgresql_as_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unprivileged, "_USERS", ("no-such-user",))
    findings = examined(folder)
    assert not findings["user"].good
    assert "useradd" in findings["user"].remedy
    assert not findings["PostgreSQL"].good


def test_the_command_fails_when_something_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWNURTURE_VAR", str(folder))
    monkeypatch.setenv("FLOWNURTURE_PORTS", "free")
    monkeypatch.setenv("GATEWAY_PORT", "eighty")
    answer = CliRunner().invoke(app, ["doctor"])
    assert answer.exit_code == 1
    assert "GATEWAY_PORT=eighty is not a port number." in answer.stdout
