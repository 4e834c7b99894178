"""A sealed value that carries its own key opens in its own place only, and never without the key that wraps."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from os import urandom
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import Unavailable
from chassis.sealing import Sealer
from chassis.secret import Secret, SecretBytes
from chassis.tests.deadlines import until
from chassis.vault.envelopes import Envelopes, beginning
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.tests.conftest import key_encryption_key
from chassis.vault.tests.test_vault import UNHURRIED
from chassis.vault.wrapping import DoesNotOpen, Wrapped

COLUMN = {"schema": "identity", "table": "things", "column": "sealed_seed"}
PLAIN = SecretBytes(b"plain words")


class AskedWrapping(FileWrapping):
    """Counts what it is asked, and answers while it is there."""

    def __init__(self, keys: Mapping[str, Secret]) -> None:
        super().__init__(keys)
        self.wrapped = self.unwrapped = 0
        self.bound_to: list[Mapping[str, str]] = []
        self.there = asyncio.Event()
        self.there.set()
        self.fails = False

    async def wrap(self, plain: bytes, context: Mapping[str, str]) -> Wrapped:
        self.wrapped += 1
        self.bound_to.append(context)
        await self._answer()
        return await super().wrap(plain, context)

    async def unwrap(self, wrapped: Wrapped, context: Mapping[str, str]) -> bytes:
        self.unwrapped += 1
        await self._answer()
        return await super().unwrap(wrapped, context)

    async def _answer(self) -> None:
        await self.there.wait()
        if self.fails:
            raise Unavailable


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def asked() -> AskedWrapping:
    return AskedWrapping({"one": key_encryption_key()})


def enveloping(wrapping: FileWrapping, **more: Any) -> Envelopes:
    return Envelopes(wrapping, **COLUMN | more)


async def test_what_is_sealed_opens_in_its_row_in_every_process_and_is_not_to_be_seen(
    wrapping: FileWrapping,
) -> None:
    row = uuid4()
    sealed = await enveloping(wrapping).seal(PLAIN.reveal(), row=row)
    assert b"plain" not in sealed
    assert await enveloping(wrapping).open(sealed, row=row) == PLAIN


async def test_the_same_sealed_twice_looks_different(wrapping: FileWrapping) -> None:
    envelopes, row = enveloping(wrapping), uuid4()
    once, twice = [await envelopes.seal(PLAIN.reveal(), row=row) for _ in range(2)]
    assert once != twice


@pytest.mark.parametrize("elsewhere", [{"schema": "sending"}, {"table": "others"}, {"column": "other"}])
async def test_what_is_moved_to_another_column_does_not_open(
    wrapping: FileWrapping, elsewhere: dict[str, str]
) -> None:
    row = uuid4()
    sealed = await enveloping(wrapping).seal(PLAIN.reveal(), row=row)
    with pytest.raises(DoesNotOpen):
        await enveloping(wrapping, **elsewhere).open(sealed, row=row)


async def test_what_is_moved_to_another_row_does_not_open_not_even_where_its_key_is_known(
    wrapping: FileWrapping,
) -> None:
    envelopes, row = enveloping(wrapping), uuid4()
    sealed = await envelopes.seal(PLAIN.reveal(), row=row)
    assert await envelopes.open(sealed, row=row) == PLAIN
    with pytest.raises(DoesNotOpen):
        await envelopes.open(sealed, row=uuid4())


async def test_without_the_key_that_wraps_nothing_opens(wrapping: FileWrapping) -> None:
    row = uuid4()
    sealed = await enveloping(wrapping).seal(PLAIN.reveal(), row=row)
    for keys in ({"one": key_encryption_key()}, {"two": key_encryption_key()}):
        with pytest.raises(DoesNotOpen):
            await enveloping(FileWrapping(keys)).open(sealed, row=row)


@UNHURRIED
@given(place=st.integers(min_value=0), change=st.integers(1, 255), plain=st.binary(max_size=40))
def test_whatever_is_changed_in_an_envelope_it_does_not_open(place: int, change: int, plain: bytes) -> None:
    async def opened() -> None:
        envelopes, row = enveloping(FileWrapping({"one": key_encryption_key()})), uuid4()
        sealed = bytearray(await envelopes.seal(plain, row=row))
        assert (await envelopes.open(bytes(sealed), row=row)).reveal() == plain
        sealed[place % len(sealed)] ^= change
        with pytest.raises(DoesNotOpen):
            await envelopes.open(bytes(sealed), row=row)

    asyncio.run(opened())


@UNHURRIED
@given(kept=st.integers(min_value=0), more=st.binary(min_size=1, max_size=40))
def test_what_is_cut_off_or_continued_does_not_open(kept: int, more: bytes) -> None:
    async def opened() -> None:
        envelopes, row = enveloping(FileWrapping({"one": key_encryption_key()})), uuid4()
        sealed = await envelopes.seal(PLAIN.reveal(), row=row)
        for changed in (sealed[: kept % len(sealed)], sealed + more, more + sealed):
            with pytest.raises(DoesNotOpen):
                await envelopes.open(changed, row=row)

    asyncio.run(opened())


@UNHURRIED
@given(written=st.binary(max_size=200))
def test_what_nobody_has_sealed_does_not_open(written: bytes) -> None:
    envelopes = enveloping(FileWrapping({"one": key_encryption_key()}))
    for sealed in (written, b"\x00" + written, beginning("one") + written):
        with pytest.raises(DoesNotOpen):
            asyncio.run(envelopes.open(sealed, row=uuid4()))


async def test_the_parts_of_two_envelopes_make_no_third(wrapping: FileWrapping) -> None:
    row = uuid4()
    first, second = [await enveloping(wrapping).seal(PLAIN.reveal(), row=row) for _ in range(2)]
    key_begins = len(beginning("one"))
    key_ends = len(first) - 12 - len(PLAIN.reveal()) - 16
    for cut in (key_begins, key_ends, key_ends + 12):
        mixed = first[:cut] + second[cut:]
        if mixed != second:
            with pytest.raises(DoesNotOpen):
                await enveloping(wrapping).open(mixed, row=row)


async def test_an_envelope_that_names_another_key_does_not_open_even_if_that_unwraps_it() -> None:
    key, row = key_encryption_key(), uuid4()
    both = enveloping(FileWrapping({"one": key, "two": key}))
    sealed = await both.seal(PLAIN.reveal(), row=row)
    with pytest.raises(DoesNotOpen):
        await both.open(beginning("two") + sealed[len(beginning("one")) :], row=row)


async def test_a_data_key_is_wrapped_for_its_column_alone(asked: AskedWrapping) -> None:
    await enveloping(asked).seal(PLAIN.reveal(), row=uuid4())
    assert asked.bound_to == [{"column": "identity.things.sealed_seed"}]


@pytest.mark.parametrize(
    "empty",
    [b"", b"\x00\x00", b"\x00\x00\x00\x03key", b"\x00\x03one\x00\x00" + bytes(28), b"\x00\x03one\x00\x03key"],
)
async def test_the_keeper_is_not_asked_about_what_is_no_envelope(asked: AskedWrapping, empty: bytes) -> None:
    with pytest.raises(DoesNotOpen):
        await enveloping(asked).open(b"\x00" + empty, row=uuid4())
    assert asked.unwrapped == 0


async def test_one_key_serves_for_an_hour_and_so_many_values(asked: AskedWrapping) -> None:
    clock = Clock()
    envelopes = enveloping(asked, most_values=3, clock=clock)
    counts = []
    for moment in (0, 0, 0, 0, 3599, 3600, 3600):
        clock.now = float(moment)
        await envelopes.seal(PLAIN.reveal(), row=uuid4())
        counts.append(asked.wrapped)
    assert counts == [1, 1, 1, 2, 2, 3, 3]


async def test_the_keeper_is_asked_once_by_all_who_seal_or_open_at_the_same_time(
    asked: AskedWrapping,
) -> None:
    rows = [uuid4() for _ in range(50)]
    envelopes = enveloping(asked)
    sealed = await asyncio.gather(*(envelopes.seal(PLAIN.reveal(), row=row) for row in rows))
    there = enveloping(asked)
    opened = await asyncio.gather(
        *(there.open(value, row=row) for value, row in zip(sealed, rows, strict=True))
    )
    assert set(opened) == {PLAIN}
    assert (asked.wrapped, asked.unwrapped) == (1, 1)


async def test_who_leaves_takes_the_key_from_nobody(asked: AskedWrapping) -> None:
    envelopes, row = enveloping(asked), uuid4()
    sealed = await envelopes.seal(PLAIN.reveal(), row=row)
    asked.there.clear()
    leaving, staying = (asyncio.create_task(envelopes.open(sealed, row=row)) for _ in range(2))
    await until(lambda: asked.unwrapped == 1)
    leaving.cancel()
    await asyncio.wait([leaving])
    asked.there.set()
    assert await staying == PLAIN
    assert asked.unwrapped == 1


async def test_a_key_is_known_for_a_minute_and_those_that_were_used_last(asked: AskedWrapping) -> None:
    clock, row = Clock(), uuid4()
    # Each of them with a key of its own.
    envelopes = enveloping(asked, most_values=1, clock=clock)
    sealed = [await envelopes.seal(PLAIN.reveal(), row=row) for _ in range(1025)]

    async def asked_for(value: bytes) -> int:
        before = asked.unwrapped
        await envelopes.open(value, row=row)
        return asked.unwrapped - before

    assert [await asked_for(value) for value in (sealed[0], sealed[0])] == [1, 0]
    clock.now = 60.0
    assert await asked_for(sealed[0]) == 1
    assert sum([await asked_for(value) for value in sealed[1:]]) == 1024
    assert [await asked_for(value) for value in (sealed[-1], sealed[0])] == [0, 1]


async def test_a_keeper_that_does_not_answer_is_told_to_all_who_wait_and_asked_again_by_who_comes_later(
    asked: AskedWrapping,
) -> None:
    envelopes, row = enveloping(asked), uuid4()
    asked.fails = True
    refused = await asyncio.gather(
        *(envelopes.seal(PLAIN.reveal(), row=row) for _ in range(5)), return_exceptions=True
    )
    assert [type(each) for each in refused] == [Unavailable] * 5
    assert asked.wrapped == 1
    asked.fails = False
    sealed = await envelopes.seal(PLAIN.reveal(), row=row)
    asked.fails = True
    with pytest.raises(Unavailable):
        await envelopes.open(sealed, row=row)
    asked.fails = False
    assert await envelopes.open(sealed, row=row) == PLAIN


async def test_what_was_sealed_before_opens_in_its_place_as_long_as_its_key_is_there(
    wrapping: FileWrapping,
) -> None:
    former, row = Sealer("identity", {"before": Secret(b64encode(urandom(32)).decode())}), uuid4()
    sealed = former.seal(PLAIN.reveal(), table="things", row=row, column="sealed_seed")
    during = enveloping(wrapping, former=former)
    assert await during.open(sealed, row=row) == PLAIN
    for other, at in ((enveloping(wrapping), row), (during, uuid4())):
        with pytest.raises(DoesNotOpen):
            await other.open(sealed, row=at)
    with pytest.raises(DoesNotOpen):
        await during.open(b"\x05other" + sealed, row=row)
    again = await during.sealed_again(sealed, row=row)
    assert await enveloping(wrapping).open(again, row=row) == PLAIN


async def test_what_is_sealed_again_needs_the_key_before_no_more() -> None:
    old, new, row = key_encryption_key(), key_encryption_key(), uuid4()
    sealed = await enveloping(FileWrapping({"old": old})).seal(PLAIN.reveal(), row=row)
    both = enveloping(FileWrapping({"new": new, "old": old}))
    again = await both.sealed_again(sealed, row=row)
    assert again.startswith(beginning(await both.current_wrapping_key()))
    after = enveloping(FileWrapping({"new": new}))
    assert await after.open(again, row=row) == PLAIN
    with pytest.raises(DoesNotOpen):
        await after.open(sealed, row=row)
