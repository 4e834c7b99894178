"""Every HTTP request from its first line to its answer (RSGI 1.5)."""

import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Protocol

from granian.rsgi import HTTPProtocol, Scope  # type: ignore[attr-defined]
from prometheus_client import Gauge, Histogram

from chassis import tracing
from chassis.errors import DomainError
from chassis.logs import logger
from gateway.answers import Answer
from gateway.exchange import CLIENT_GONE, Exchange
from gateway.problems import HttpRefusal, UriTooLong, problem_of
from gateway.routing import Routable, Router
from gateway.sockets import break_off

LONGEST_URI = 16 * 1024

HTTP_SECONDS = Histogram(
    "flownurture_http_seconds",
    "How long requests took in the gateway, from their head to their answer.",
    ("route", "status"),
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)


REQUESTS_IN_FLIGHT = Gauge("flownurture_http_in_flight", "Requests that the gateway is answering now.")


class Route(Routable, Protocol):
    """What answers the requests of one method and path."""

    async def answer(self, exchange: Exchange, variables: dict[str, str]) -> Answer:
        """Answer, or raise a DomainError or HttpRefusal."""


class Application:
    """The gateway as the HTTP server calls it."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._router = Router(routes)
        self._seconds: dict[tuple[str, int], Histogram] = {}
        self._dismissing = False

    def dismiss(self) -> None:
        """From now on each answer asks its client to come again by another connection."""
        self._dismissing = True

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Answer one request, whatever happens."""
        with REQUESTS_IN_FLIGHT.track_inprogress():
            await self._serve(Exchange.begin(scope, protocol))

    async def _serve(self, exchange: Exchange) -> None:
        started = time.perf_counter()
        protocol = exchange.protocol
        name, answer = await self._answer(exchange)
        answer.headers += exchange.headers
        if self._dismissing:
            answer.headers.append(("connection", "close"))
        if answer.status >= 400:
            await exchange.discard_rest()
        try:
            if answer.pieces is None:
                protocol.response_bytes(answer.status, answer.headers, answer.body)
            else:
                await _send_pieces(exchange, answer, answer.pieces)
        except CLIENT_GONE:
            logger().info("client_left", route=name, request_id=exchange.request_id)
        except Exception:
            logger().exception("answer_broke_off", route=name, request_id=exchange.request_id)
        self._measure(name, answer.status, time.perf_counter() - started)

    async def _answer(self, exchange: Exchange) -> tuple[str, Answer]:
        """The answer and the name of the route, for what is counted and logged."""
        scope = exchange.scope
        name = "none"
        try:
            if len(scope.path) + len(scope.query_string) > LONGEST_URI:
                raise UriTooLong(LONGEST_URI)  # noqa: TRY301 - told like every other refusal
            route, variables = self._router.match(scope.method, scope.path)
            name = f"{route.verb} {route.template.text}"
            with tracing.span(name, exchange.header("traceparent") or "", tracing.SERVER):
                return name, await route.answer(exchange, variables)
        except (DomainError, HttpRefusal) as refusal:
            problem = problem_of(refusal, exchange.request_id)
            if problem.status >= 500:
                logger().warning(
                    "request_not_served", route=name, request_id=exchange.request_id, because=str(refusal)
                )
            return name, problem
        except CLIENT_GONE as gone:
            # The client hung up in the middle of its request: nobody will read this.
            return name, problem_of(HttpRefusal(400, "INCOMPLETE_REQUEST", str(gone)), exchange.request_id)
        except Exception as bug:
            logger().exception("request_failed", route=name, request_id=exchange.request_id)
            return name, problem_of(bug, exchange.request_id)

    def _measure(self, route: str, status: int, seconds: float) -> None:
        observed = self._seconds.get((route, status))
        if observed is None:
            observed = self._seconds[route, status] = HTTP_SECONDS.labels(route, str(status))
        observed.observe(seconds)


async def _send_pieces(exchange: Exchange, answer: Answer, pieces: AsyncGenerator[bytes, None]) -> None:
    """Send a body as it comes, no faster than the client takes it. When it does not come whole, the connection breaks off."""
    async with aclosing(pieces):
        transport = exchange.protocol.response_stream(answer.status, answer.headers)
        if exchange.scope.method == "HEAD":
            return
        try:
            async for piece in pieces:
                await transport.send_bytes(piece)
        except CLIENT_GONE:
            raise
        except BaseException:
            break_off(exchange.scope.client)
            raise
