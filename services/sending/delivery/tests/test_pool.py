"""What a pool of connections does with a relay that takes few of them, and with one that takes none."""

import asyncio
from collections import deque
from contextlib import AsyncExitStack
from uuid import UUID

import pytest

from chassis.secret import Secret
from chassis.tests.deadlines import until
from services.sending.delivery.lanes import OTHERS
from services.sending.delivery.smtp.envelope import Answer, Envelope
from services.sending.delivery.smtp.pool import ConnectionPool, NoAnswer
from services.sending.delivery.turns import Claimant
from services.sending.relay_address import RelayAddress
from services.sending.tests.relay import MailRelay

SOMEBODY = Claimant(UUID(int=1), urgent=False)


class Narrow(MailRelay):
    """A relay that takes so many connections at a time."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.refused = 0

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._sessions) > self.most:
            self.refused += 1
            writer.write(b"421 4.7.0 relay.test too many connections\r\n")
            return
        await super()._talk(reader, writer)


def pool_to(relay: MailRelay) -> ConnectionPool:
    return ConnectionPool(RelayAddress.of(Secret(relay.url)), "mail.test")


async def hand_over(pool: ConnectionPool, letters: deque[Envelope], track: str = OTHERS) -> None:
    while letters:
        async with pool.turn(SOMEBODY, track) as turn:
            await turn.connection.hand_over(
                lambda: letters.popleft() if letters and turn.begins_another() else None, _note
            )


def _note(_: Envelope, answer: Answer) -> None:
    assert answer.reply.code == 250


@pytest.mark.parametrize("most", [1, 2])
async def test_a_relay_that_takes_few_connections_gets_everything_over_those(most: int) -> None:
    async with Narrow(most) as relay, pool_to(relay) as pool:
        letters = deque(_letter() for _ in range(200))
        await asyncio.gather(*(hand_over(pool, letters) for _ in range(8)))
        assert len(relay.seen) == 200
        assert pool.concurrency.limit <= most
        assert relay.refused <= 8


async def test_a_relay_that_does_not_answer_is_asked_once_in_a_while() -> None:
    async with MailRelay() as relay:
        pass
    async with pool_to(relay) as pool:
        letters = deque([_letter()])
        failures = await asyncio.gather(
            *(hand_over(pool, letters) for _ in range(50)), return_exceptions=True
        )
        assert all(isinstance(failure, NoAnswer) for failure in failures)
        assert 0 < pool.down_for <= 1
        assert pool.in_use == pool.waiting == 0


async def test_who_gives_up_waiting_takes_no_connection_with_them() -> None:
    async with MailRelay() as relay, pool_to(relay) as pool:
        async with AsyncExitStack() as turns:
            # What one track may have of all connections.
            for _ in range(pool.concurrency.limit * 3 // 4):
                await turns.enter_async_context(pool.turn(SOMEBODY, "google"))
            waiting = [asyncio.create_task(hand_over(pool, deque([_letter()]), "google")) for _ in range(3)]
            await until(lambda: pool.waiting == 3)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            await hand_over(pool, deque([_letter()]))
        assert pool.in_use == pool.waiting == 0
        await hand_over(pool, deque([_letter()]), "google")
    assert len(relay.seen) == 2


def _letter() -> Envelope:
    return Envelope("bounces@mail.test", "a@example.com", b"Subject: x\r\n\r\nx\r\n")
