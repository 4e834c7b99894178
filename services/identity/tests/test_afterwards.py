"""What is done after an answer is done, also when the process is told to stop, and harms nobody when it fails."""

import asyncio

import pytest

from services.identity.afterwards import Afterwards


async def test_what_was_begun_is_finished_before_the_process_ends() -> None:
    done = asyncio.Event()
    may_go_on = asyncio.Event()

    async def work() -> None:
        await may_go_on.wait()
        done.set()

    async with Afterwards() as afterwards:
        afterwards.do(work())
        assert not done.is_set()
        asyncio.get_running_loop().call_soon(may_go_on.set)
    assert done.is_set()


async def test_what_fails_is_logged_and_stops_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    done = asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("of no use")

    async def work() -> None:
        done.set()

    async with Afterwards() as afterwards:
        afterwards.do(fail())
        afterwards.do(work())
    assert done.is_set()
    said = capsys.readouterr()
    assert "left_undone" in said.out + said.err
