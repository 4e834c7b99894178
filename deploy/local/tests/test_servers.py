"""The servers of a house on one machine, also where the clone lies in a folder that PostgreSQL's user cannot enter."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import psycopg
import pytest

from chassis.secret import Secret
from deploy.local.servers import unprivileged
from deploy.local.servers.nats import Nats
from deploy.local.servers.postgres import Postgres
from deploy.local.servers.program import ServerNotReady, free_port, start, stop
from deploy.local.servers.redis import Redis
from deploy.local.servers.unprivileged import outside, remove_outside, unprivileged_user

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand over to somebody else")


@pytest.fixture
def private() -> Iterator[Path]:
    """A state folder below one that root alone may enter."""
    top = Path(mkdtemp(prefix="flownurture-private-"))
    top.chmod(0o700)
    folder = top / "var"
    folder.mkdir()
    yield folder
    remove_outside(folder)
    shutil.rmtree(top)


@as_root
def test_a_cluster_in_a_folder_that_its_user_cannot_enter_lives_outside_and_keeps_its_data(
    private: Path,
) -> None:
    user = unprivileged_user()
    assert user is not None
    assert not user.can_reach(private)

    def cluster() -> Postgres:
        return Postgres(private / "postgres", free_port(), private / "log", Secret("one"), durable=False)

    first = cluster()
    process = start(first)
    try:
        with psycopg.connect(first.admin_url.reveal(), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
            (folder,) = connection.execute("SHOW data_directory").fetchone() or ("",)
        assert Path(folder) == outside(private) / "data"
        assert Path(folder).stat().st_uid == user.uid
        assert os.stat(f"/proc/{process.pid}").st_uid == user.uid
    finally:
        stop(process)

    # Another start of the same clone finds it, by what the state folder remembers.
    second = cluster()
    process = start(second)
    try:
        with psycopg.connect(second.admin_url.reveal()) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
    finally:
        stop(process)

    place = outside(private)
    remove_outside(private)
    assert not place.exists()


@as_root
def test_two_clones_have_two_places_outside(private: Path) -> None:
    other = private.parent / "another"
    try:
        assert outside(private) != outside(other)
        assert outside(private) == outside(private)
    finally:
        remove_outside(other)


@as_root
def test_a_place_outside_that_somebody_else_made_is_not_used(
    private: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = unprivileged_user()
    assert user is not None
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    os.chown(theirs, user.uid, user.gid)
    monkeypatch.setattr(unprivileged, "_OUTSIDE", (theirs, ours))
    assert outside(private).parent == ours


@as_root
def test_a_folder_is_reachable_only_if_each_one_above_it_may_be_entered() -> None:
    user = unprivileged_user()
    assert user is not None
    top = Path(mkdtemp())
    try:
        inner = top / "inner"
        inner.mkdir(mode=0o755)
        (top / "link").symlink_to(inner)
        for mode, expected in ((0o755, True), (0o711, True), (0o700, False), (0o744, False)):
            top.chmod(mode)
            assert user.can_reach(inner) is expected
            assert user.can_reach(inner / "not" / "yet") is expected
            assert user.can_reach(top / "link") is expected
    finally:
        shutil.rmtree(top)


def test_a_server_that_cannot_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = Nats(tmp_path, free_port(), tmp_path / "log", "authorization { users: [ }")
    with pytest.raises(ServerNotReady, match="Parse error"):
        start(broken)


def test_redis_keeps_nothing_but_who_may_use_it(tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis", free_port(), tmp_path / "log", "user default off\n")
    stop(start(server))
    (kept,) = (tmp_path / "redis").iterdir()
    assert kept.read_text() == "user default off\n"
    assert kept.stat().st_mode & 0o077 == 0
