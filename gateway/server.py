"""Puts the gateway together: endpoints of the contract, the gate before them, the processes behind them."""

import orjson

from chassis.process import Process
from gateway.access_tokens import AccessTokenVerifier, KeySet
from gateway.admission import SCRIPT, Admission
from gateway.answers import Answer, json_answer, raw_answer
from gateway.application import Application, Route
from gateway.calls import CallRoute
from gateway.credentials import Authenticator
from gateway.documentation import html_page
from gateway.downloads import DownloadRoute
from gateway.endpoints import Endpoint, public_endpoints
from gateway.event_streams import EventRoute
from gateway.gate import Gate
from gateway.http_server import HttpServer
from gateway.openapi import openapi
from gateway.pages import Page, fixed
from gateway.redis_script import RedisScript
from gateway.settings import GatewaySettings
from gateway.uploads import UploadRoute
from gateway.upstreams import Upstreams


async def serve(settings: GatewaySettings) -> None:
    """Serve the public API until the process is told to stop."""
    async with Process("gateway", settings) as process:
        upstreams = await process.enter(Upstreams(settings, process.stamper))
        script = await process.enter(RedisScript(settings.redis_url, SCRIPT))
        readiness = Readiness(upstreams, script)
        gate = the_gate(settings, upstreams, script)
        routes = [*await api_routes(upstreams, gate), *own_routes(settings, readiness)]
        async with HttpServer(Application(routes), settings.listen, readiness.drain) as server:
            process.start(server)
            await process.run_until_stopped()


def the_gate(settings: GatewaySettings, upstreams: Upstreams, script: RedisScript) -> Gate:
    """What every request but those of public endpoints has to pass."""
    keys = KeySet(upstreams.key_set)
    tokens = AccessTokenVerifier(keys, issuer=settings.jwt_issuer, audience=settings.jwt_audience)
    admission = Admission(script, upstreams.resolve)
    return Gate(Authenticator(tokens), admission, proxies=settings.trusted_proxies)


async def api_routes(upstreams: Upstreams, gate: Gate) -> list[Route]:
    """A route for each endpoint of the contract."""
    return [
        _route(endpoint)(endpoint, gate, await upstreams.peer(endpoint.domain))
        for endpoint in public_endpoints()
    ]


def _route(endpoint: Endpoint) -> type[CallRoute | UploadRoute | DownloadRoute | EventRoute]:
    if endpoint.is_upload:
        return UploadRoute
    if endpoint.result:
        return EventRoute
    return DownloadRoute if endpoint.download else CallRoute


def own_routes(settings: GatewaySettings, readiness: "Readiness") -> list[Page]:
    """The routes that the gateway answers by itself."""
    document = openapi(public_endpoints(), settings.public_url)
    return [
        fixed("/healthz", json_answer(b'{"status":"ok"}')),
        Page("/readyz", readiness.answer),
        fixed("/openapi.json", json_answer(orjson.dumps(document))),
        fixed("/docs", raw_answer(html_page(document).encode(), "text/html; charset=utf-8")),
    ]


class Readiness:
    """Whether requests should come to this gateway: it can admit them, and is not about to leave."""

    def __init__(self, upstreams: Upstreams, script: RedisScript) -> None:
        self._upstreams = upstreams
        self._script = script
        self._draining = False

    def drain(self) -> None:
        """From now on, no."""
        self._draining = True

    async def answer(self) -> Answer:
        """200 or 503."""
        if not self._draining and (self._script.connected or await self._upstreams.identity_serves()):
            return json_answer(b'{"status":"ready"}')
        return json_answer(b'{"status":"not ready"}', status=503)
