import asyncio
from pathlib import Path

import pytest

from deploy.local.supervisor import logs


async def test_a_log_that_has_grown_large_is_set_aside_and_its_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_LARGEST", 1000)
    log = tmp_path / "contacts.log"
    with log.open("a") as writer:
        writer.write("before\n" * 200)
        writer.flush()
        bounding = asyncio.create_task(logs.bound(tmp_path))
        async with asyncio.timeout(10):
            while log.stat().st_size:  # noqa: ASYNC110 - the condition is a file's
                await asyncio.sleep(0.01)
        bounding.cancel()
        writer.write("after\n")
    assert log.read_text() == "after\n"
    assert (tmp_path / "contacts.log.1").read_text() == "before\n" * 200


def test_the_last_lines_of_a_log_are_shown_and_a_missing_one_is_told(tmp_path: Path) -> None:
    log = tmp_path / "contacts.log"
    assert logs.last_lines(log) == "    (there is no log)"
    log.write_text("one\ntwo\nthree\n")
    assert logs.last_lines(log, 2) == "    two\n    three"
