import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.servers.postmaster import dismiss


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Whatever a shell starts in the background ignores SIGINT, and all that starts from there, unless somebody took it up again."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_pid_file_that_names_a_stranger_is_forgotten_and_the_stranger_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (tmp_path / "postmaster.pid").write_text(f"{stranger.pid}\n{tmp_path}\n")
        dismiss(tmp_path)
        assert not (tmp_path / "postmaster.pid").exists()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.communicate()


@pytest.mark.usefixtures("interruptible")
def test_a_server_that_still_runs_on_the_cluster_is_ended(tmp_path: Path) -> None:
    # A program of that name in that folder, as PostgreSQL is: it ends on SIGINT.
    (tmp_path / "postgres").symlink_to("/bin/sleep")
    server = subprocess.Popen([tmp_path / "postgres", "60"], cwd=tmp_path)
    (tmp_path / "postmaster.pid").write_text(f"{server.pid}\n")
    dismiss(tmp_path)
    assert server.wait(timeout=60) == -signal.SIGINT


def test_no_pid_file_or_one_cut_short_harms_nothing(tmp_path: Path) -> None:
    dismiss(tmp_path)
    (tmp_path / "postmaster.pid").write_text("")
    dismiss(tmp_path)
    assert os.listdir(tmp_path) == ["postmaster.pid"]
