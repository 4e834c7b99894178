"""A real adapter with an account of its CRM on this machine, between which everything goes wrong that goes wrong with networks, limits and tokens."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from chassis.secret import Secret
from services.integrations.crm.adapter import Crm
from services.integrations.crm.http_client import Answer, HttpClient
from services.integrations.crm.records import Property, Record, Value
from services.integrations.crm.tests.servers.accounts import ACCOUNTS, LocalAccount, SalesforcePeople
from services.integrations.crm.tests.servers.serving import serving
from tests.integration.scripted_crm import Cut

# By our side nobody is ever subscribed.
SUBSCRIBES = (b'"HasOptedOutOfEmail":false', b'"hs_email_optout":', b'"marketing_status":"subscribed"')


@dataclass
class ServedCrm:
    """What people do in the account, and how often a call of ours goes wrong: `unrest`, from 0 to 1."""

    account: LocalAccount
    random: Random
    crm: Crm
    unrest: float = 0.0
    # How often our side has asked for it.
    subscribed: int = 0

    @property
    def mapped(self) -> Sequence[Property]:
        """Given name, family name, points."""
        return [self.account.given, self.account.family, self.account.points]

    def add(self, email: str | None, **values: Value) -> str:
        """Somebody makes a record."""
        return self.account.add(email, **values)

    def edit(self, record_id: str, email: str | None = None, **values: Value) -> None:
        """Somebody edits a record."""
        self.account.edit(record_id, email, **values)

    def say_opted_out(self, record_id: str, opted_out: bool = True) -> None:
        """Somebody notes that a person has opted out, or that they have not."""
        self.account.say_opted_out(record_id, opted_out)

    def archive(self, record_id: str) -> None:
        """Somebody takes a record away."""
        self.account.archive(record_id)

    def live(self) -> list[Record]:
        """What people see."""
        return self.account.live()

    def state(self) -> str:
        """All of it, to be compared."""
        return self.account.state()


@asynccontextmanager
async def served_crm(name: str, random: Random) -> AsyncIterator[ServedCrm]:
    """One of this name. Its clock may be behind, so that what was read once is not read again."""
    account = ACCOUNTS[name]()
    account.server.now = datetime.now(UTC).replace(microsecond=0)
    if random.random() < 0.5:
        account.server.now -= timedelta(hours=1)
    elif isinstance(account, SalesforcePeople):
        # So large that all of it is read by a job.
        account.server.seeming = 10_000
    trouble = _Trouble(account, account.server.app(), random)
    async with serving(trouble) as url, _MortalHttp(random) as http:
        served = ServedCrm(account, random, account.crm(http, _Access(url, account)))
        trouble.served = http.served = served
        yield served
        assert not served.subscribed


@dataclass
class _Access:
    """Its token ends now and then, and there is always another."""

    base_url: str
    account: LocalAccount
    is_api_key: bool = False
    held: str = "token-1"

    async def token(self) -> Secret:
        return Secret(self.held)

    async def renewed(self, stale: Secret) -> Secret:
        (self.held,) = self.account.server.tokens
        return Secret(self.held)


class _MortalHttp(HttpClient):
    """The process that uses it may die before it has sent something, or before it has learned what came of it."""

    served: ServedCrm

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    async def send(self, *asked: Any, **more: Any) -> Answer:
        self._die()
        answer = await super().send(*asked, **more)
        self._die()
        return answer

    def _die(self) -> None:
        if self._random.random() < self.served.unrest / 8:
            raise Cut


@dataclass
class _Trouble:
    """Stands before an account's server."""

    account: LocalAccount
    app: Starlette
    random: Random
    served: ServedCrm = field(init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        self.served.subscribed += any(told in body for told in SUBSCRIBES)
        await self._fate()(scope, replayed(body), send)

    def _fate(self) -> Any:
        if self.random.random() >= self.served.unrest / 2:
            return self.app
        return self.random.choice(
            (
                JSONResponse({}, 429, {"Retry-After": "0"}),
                self.account.quota(),
                JSONResponse({}, 503),
                self._with_another_token,
                self._done_but_failed,
                self._done_but_cut,
                _cut,
            )
        )

    async def _with_another_token(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.account.server.tokens = {f"token-{self.random.randrange(10**6)}"}
        await self.app(scope, receive, send)

    async def _done_but_failed(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, unsent)
        await Response(status_code=502)(scope, receive, send)

    async def _done_but_cut(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, unsent)
        await _cut(scope, receive, send)


async def _cut(scope: Scope, receive: Receive, send: Send) -> None:
    """The connection ends in the middle of an answer."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
    await send({"type": "http.response.body", "body": b'{"', "more_body": True})


async def unsent(message: Message) -> None:
    """An answer that nobody gets."""


def replayed(body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    return receive
