import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil
import pytest

from deploy.local.opening import HouseNotOpen, Opening, Status, close
from deploy.local.state import StateFolder, read_json
from deploy.local.supervisor import presence
from deploy.local.supervisor.backoff import Backoff

TINY_HOUSE = Path(__file__).with_name("tiny_house.py")


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = monotonic() + seconds
    while not holds():
        assert monotonic() < deadline, "it did not come to hold"
        sleep(0.02)


@dataclass
class TinyHouse:
    """Two programs, supervised by the real supervisor."""

    state: StateFolder

    def open(self) -> Status:
        return Opening(self.state, watch=lambda _: None, command=(sys.executable, str(TINY_HOUSE))).run()

    def room(self, name: str) -> dict[str, Any]:
        rooms = read_json(self.state.status)["rooms"]
        return next(room for room in rooms if room["name"] == name)

    def run_file(self) -> dict[str, Any]:
        run_file: dict[str, Any] = read_json(self.state.run_file)
        return run_file


@pytest.fixture
def tiny_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyHouse]:
    monkeypatch.setenv("FLOWNURTURE_PORTS", "free")
    house = TinyHouse(StateFolder(tmp_path / "var"))
    yield house
    close(house.state)


@pytest.mark.parametrize("name", ["cellar", "attic"])
def test_who_is_killed_is_started_again_and_the_run_file_stays_true(tiny_house: TinyHouse, name: str) -> None:
    tiny_house.open()
    killed = tiny_house.room(name)["pid"]
    os.kill(killed, 9)
    until(
        lambda: (
            tiny_house.room(name)["health"] == "ready" and tiny_house.room(name)["pid"] not in (killed, None)
        )
    )
    reborn = tiny_house.room(name)
    assert reborn["restarts"] == 1
    assert psutil.pid_exists(reborn["pid"])
    told = {process["name"]: process["pid"] for process in tiny_house.run_file()["processes"]}
    assert told == {room: tiny_house.room(room)["pid"] for room in ("cellar", "attic")}


def test_opening_an_open_house_changes_nothing(tiny_house: TinyHouse) -> None:
    assert tiny_house.open() == tiny_house.open()


def test_a_killed_supervisor_is_followed_by_one_that_leaves_nobody_behind(tiny_house: TinyHouse) -> None:
    before = tiny_house.open()
    os.kill(before["supervisor"], 9)
    until(lambda: presence.supervisor(tiny_house.state.supervisor) is None)
    left_over = [psutil.Process(room["pid"]) for room in before["rooms"]]
    after = tiny_house.open()
    assert presence.await_end(left_over, seconds=0) == []
    assert [room["health"] for room in after["rooms"]] == ["ready", "ready"]
    assert [room["url"] for room in after["rooms"]] == [room["url"] for room in before["rooms"]]


def test_a_closed_house_has_ended_everything_and_may_be_closed_again(tiny_house: TinyHouse) -> None:
    status = tiny_house.open()
    everybody = [psutil.Process(room["pid"]) for room in status["rooms"]]
    assert close(tiny_house.state)
    assert presence.await_end(everybody, seconds=0) == []
    assert not tiny_house.state.run_file.exists()
    assert not close(tiny_house.state)


def test_what_a_killed_supervisor_left_can_be_closed(tiny_house: TinyHouse) -> None:
    status = tiny_house.open()
    everybody = [psutil.Process(room["pid"]) for room in status["rooms"]]
    os.kill(status["supervisor"], 9)
    until(lambda: presence.supervisor(tiny_house.state.supervisor) is None)
    assert close(tiny_house.state)
    assert presence.await_end(everybody, seconds=0) == []


def test_a_taken_port_is_told_with_its_holder_and_the_variable_that_moves_it(
    tiny_house: TinyHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        monkeypatch.setenv("GATEWAY_PORT", str(port))
        with pytest.raises(HouseNotOpen) as refusal:
            tiny_house.open()
    assert f"Port {port} (gateway) is taken" in str(refusal.value)
    assert f"(pid {os.getpid()}). Set GATEWAY_PORT" in str(refusal.value)
    assert tiny_house.open()["phase"] == "ready"


def test_a_folder_that_cannot_hold_a_house_is_told(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("not a folder")
    with pytest.raises(HouseNotOpen, match=r"(?s)cannot be kept in .*var: .*FLOWNURTURE_VAR"):
        TinyHouse(StateFolder(tmp_path / "var")).open()


def test_what_cannot_run_is_named_with_its_last_words(
    tiny_house: TinyHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_MODULE", "a_module_that_is_not_there")
    with pytest.raises(HouseNotOpen) as failure:
        tiny_house.open()
    # It is either between two attempts or in the middle of one.
    assert re.search(r"cellar is not ready \((re)?starting: it ended with exit code 1\)", str(failure.value))
    assert "No module named a_module_that_is_not_there" in str(failure.value)


def test_supervisors_of_one_folder_are_one(tiny_house: TinyHouse) -> None:
    status = tiny_house.open()
    environment = {
        **os.environ,
        "FLOWNURTURE_VAR": str(tiny_house.state.root),
        "PYTHONPATH": str(TINY_HOUSE.parents[3]),
    }
    second = subprocess.run([sys.executable, str(TINY_HOUSE)], env=environment, timeout=30, check=False)
    assert second.returncode == 0
    assert read_json(tiny_house.state.status) == status


def test_who_dies_again_and_again_is_started_ever_later_and_who_lives_is_forgiven() -> None:
    backoff = Backoff()
    pauses = [backoff.pause_after(lived=1) for _ in range(8)]
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 10, 10]
    assert backoff.pause_after(lived=30) == 0.25
