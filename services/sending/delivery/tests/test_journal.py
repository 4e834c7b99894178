"""A journal tells who comes after what was begun and what was answered, whenever its process dies."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from services.sending.bounces import Classification, Kind
from services.sending.delivery.journal import Journal, left_behind
from services.sending.delivery.replies import Verdict
from services.sending.statuses import MessageStatus

NO_SUCH_MAILBOX = Classification(Kind.HARD, "bad_mailbox")
# Dies without a word after what it is told to do: `b` begins a message, `a` answers the first, `f` forgets it.
DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from uuid import UUID
from services.sending.bounces import Classification, Kind
from services.sending.delivery.journal import Journal
from services.sending.delivery.replies import Verdict
from services.sending.statuses import MessageStatus

async def main() -> None:
    async with Journal(Path(sys.argv[1])) as journal:
        journal.claim_with(UUID(sys.argv[2]))
        places = []
        for number, act in enumerate(sys.argv[3]):
            if act == "b":
                places.append(journal.begin(UUID(int=number), UUID(sys.argv[2])))
            elif act == "a":
                nobody = Classification(Kind.HARD, "bad_mailbox")
                journal.answered(places[0], Verdict(MessageStatus.BOUNCED, "550 5.1.1 nobody", classified=nobody))
            else:
                journal.forget(places.pop(0))
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def die(folder: Path, token: UUID, acts: str) -> None:
    subprocess.run([sys.executable, "-c", DIES, str(folder), str(token), acts], check=False)


def test_what_a_killed_process_had_begun_is_told_with_its_answer(tmp_path: Path) -> None:
    token = uuid4()
    die(tmp_path, token, "bbba")
    (remains,) = left_behind(tmp_path)
    assert remains.token == token
    assert remains.begun == {
        UUID(int=0): Verdict(MessageStatus.BOUNCED, "550 5.1.1 nobody", classified=NO_SUCH_MAILBOX),
        UUID(int=1): None,
        UUID(int=2): None,
    }
    # Told once.
    assert not list(left_behind(tmp_path))


def test_what_was_written_before_the_kill_is_told_no_more(tmp_path: Path) -> None:
    die(tmp_path, uuid4(), "bbafb")
    (remains,) = left_behind(tmp_path)
    assert remains.begun == {UUID(int=1): None, UUID(int=4): None}


async def test_who_lives_is_not_taken_for_dead_and_nobody_writes_over_remains(tmp_path: Path) -> None:
    token = uuid4()
    die(tmp_path, token, "b")
    async with Journal(tmp_path) as journal:
        journal.claim_with(uuid4())
        journal.begin(uuid4(), uuid4())
        (remains,) = left_behind(tmp_path)
    assert remains.token == token


async def test_who_leaves_in_order_leaves_nothing_behind(tmp_path: Path) -> None:
    async with Journal(tmp_path) as journal:
        token = uuid4()
        journal.claim_with(token)
        journal.begin(uuid4(), token)
    assert not list(left_behind(tmp_path))


def test_the_remains_of_another_boot_say_nothing(tmp_path: Path) -> None:
    die(tmp_path, uuid4(), "b")
    file = tmp_path / "0.journal"
    content = bytearray(file.read_bytes())
    content[4:20] = uuid4().bytes
    file.write_bytes(content)
    assert not list(left_behind(tmp_path))


def test_what_was_claimed_with_an_earlier_token_is_not_told(tmp_path: Path) -> None:
    asyncio.run(_take_another_token(tmp_path))
    (remains,) = left_behind(tmp_path / "copy")
    assert list(remains.begun) == [UUID(int=2)]


async def test_when_nothing_is_written_any_more_nothing_more_may_be_begun(tmp_path: Path) -> None:
    async with Journal(tmp_path) as journal:
        begun = 0
        while journal.has_room:
            journal.begin(uuid4(), uuid4())
            begun += 1
        assert begun > 1_000
        journal.forget(0)
        assert journal.has_room


verdicts = st.builds(
    Verdict,
    st.sampled_from(list(MessageStatus)),
    st.text(max_size=600),
    st.none() | st.integers(1, 100_000).map(lambda seconds: timedelta(seconds=seconds)),
    st.none() | st.builds(Classification, st.sampled_from(Kind), st.sampled_from(["", "bad_mailbox"])),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(verdicts, min_size=1, max_size=20))
def test_whatever_was_answered_is_told_but_for_words_that_are_too_long(
    given_verdicts: Sequence[Verdict],
) -> None:
    with TemporaryDirectory() as name:
        asyncio.run(_leave_copy(Path(name), given_verdicts))
        (remains,) = left_behind(Path(name) / "copy")
    told = list(remains.begun.values())
    assert len(told) == len(given_verdicts)
    for found, answered in zip(told, given_verdicts, strict=True):
        assert found is not None
        assert answered.detail.startswith(found.detail)
        assert replace(found, detail=answered.detail) == answered


async def _leave_copy(folder: Path, answers: Sequence[Verdict]) -> None:
    async with Journal(folder) as journal:
        token = uuid4()
        journal.claim_with(token)
        # Notes are read in the order of their places, which are given from the last one on.
        for answer in reversed(answers):
            journal.answered(journal.begin(uuid4(), token), answer)
        _copy(folder)


async def _take_another_token(folder: Path) -> None:
    async with Journal(folder) as journal:
        for number in (1, 2):
            token = uuid4()
            journal.claim_with(token)
            journal.begin(UUID(int=number), token)
        _copy(folder)


def _copy(folder: Path) -> None:
    (folder / "copy").mkdir()
    (folder / "copy" / "0.journal").write_bytes((folder / "0.journal").read_bytes())
