"""Where nobody may be sent by a URL of a customer's: the table, with a real resolver and real sockets."""

import asyncio
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.outbound.addresses import AddressRules, Refused
from services.webhooks.outbound.answers import Failure, PostFailed
from services.webhooks.outbound.client import Client
from services.webhooks.outbound.destinations import DestinationRules, parse_destination
from services.webhooks.outbound.ports import PortRanges
from services.webhooks.outbound.resolver import Resolver
from services.webhooks.outbound.tests.zone import serving

_TABLE = tomllib.loads((Path(__file__).parent / "forbidden.toml").read_text("utf-8"))
_CASES = [(group, url) for group, held in _TABLE.items() for url in held["urls"]]
_EVERY_PORT = PortRanges.parse("1-65535")
RULES = DestinationRules(https_only=False, ports=_EVERY_PORT, addresses=AddressRules())
_ZONE = _TABLE["names"]["zone"]


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, list[str]]]:
    """A listener on loopback: its port, and who has connected to it."""
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(str(writer.get_extra_info("peername")))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, await asyncio.start_server(answer, "::1", port):
        yield port, seen


def test_the_table_is_as_long_as_it_is_said_to_be() -> None:
    assert len(_CASES) == len({url for _, url in _CASES}) >= 200


async def test_nothing_of_the_table_is_connected_to() -> None:
    async with listening() as (port, seen), serving(_ZONE) as (nameserver, _):
        client = Client(RULES, Resolver(nameserver))
        reached = [
            (group, url)
            for group, url in _CASES
            if not await _is_refused(client, url.replace("{port}", str(port)))
        ]
        assert reached == []
        assert seen == []


async def _is_refused(client: Client, url: str) -> bool:
    try:
        destination = parse_destination(url, client.rules)
    except Refused:
        return True
    try:
        await client.pool(destination).post([], b"{}")
    except PostFailed as failure:
        return failure.outcome is Failure.REFUSED
    return False


async def test_the_listener_would_see_who_connects_where_an_operator_allows_it() -> None:
    allowed = DestinationRules(False, _EVERY_PORT, AddressRules([ip_network("127.0.0.0/8")]))
    async with listening() as (port, seen), serving(_ZONE) as (nameserver, _):
        client = Client(allowed, Resolver(nameserver))
        answer = await client.pool(parse_destination(f"http://loopback.test:{port}/", allowed)).post(
            [], b"{}"
        )
        assert (answer.status, answer.address, len(seen)) == (200, "127.0.0.1", 1)


async def test_a_name_that_leads_elsewhere_when_it_is_asked_again_leads_nowhere() -> None:
    answers = iter([["93.184.215.14"], ["127.0.0.1"]])
    async with (
        listening() as (port, seen),
        serving({"rebinding.test": {"A": lambda: next(answers, ["127.0.0.1"])}}) as (nameserver, zone),
    ):
        resolver = Resolver(nameserver)
        rules = AddressRules()
        assert await resolver.addresses("rebinding.test", rules) == ["93.184.215.14"]
        client = Client(RULES, resolver)
        with pytest.raises(PostFailed) as failed:
            await client.pool(parse_destination(f"http://rebinding.test:{port}/", RULES)).post([], b"{}")
        assert failed.value.outcome is Failure.REFUSED
        assert seen == []
        assert zone.questions.count("rebinding.test A") == 2


async def test_each_connection_asks_once_and_goes_to_the_address_that_was_looked_at() -> None:
    """What was allowed is what is connected to: whatever the name leads to a moment later is never asked for."""
    allowed = DestinationRules(False, _EVERY_PORT, AddressRules([ip_network("127.0.0.1/32")]))
    answers = iter([["127.0.0.1"]])
    async with (
        listening() as (port, seen),
        serving({"rebinding.test": {"A": lambda: next(answers, ["127.0.0.66"])}}) as (nameserver, zone),
    ):
        client = Client(allowed, Resolver(nameserver))
        answer = await client.pool(parse_destination(f"http://rebinding.test:{port}/", allowed)).post(
            [], b"{}"
        )
        assert answer.address == "127.0.0.1"
        assert zone.questions.count("rebinding.test A") == 1
        assert len(seen) == 1


async def test_a_redirect_is_an_answer_and_leads_nowhere() -> None:
    async with listening() as (port, seen):
        allowed = DestinationRules(False, _EVERY_PORT, AddressRules([ip_network("127.0.0.2/32")]))

        async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            to = f"http://127.0.0.1:{port}/".encode()
            writer.write(b"HTTP/1.1 307 Elsewhere\r\nLocation: " + to + b"\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

        server = await asyncio.start_server(redirect, "127.0.0.2", 0)
        async with server:
            there = server.sockets[0].getsockname()[1]
            client = Client(allowed, Resolver("127.0.0.1:9"))
            answer = await client.pool(parse_destination(f"http://127.0.0.2:{there}/", allowed)).post(
                [], b"{}"
            )
        assert answer.status == 307
        assert seen == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.com/", "https"),
        ("https://example.com:8080/", "Port 8080"),
        ("https://example.com:22/", "Port 22"),
    ],
)
def test_in_production_only_https_at_few_ports_is_posted_to(url: str, why: str) -> None:
    production = DestinationRules(True, PortRanges.parse("443,8443"), AddressRules())
    with pytest.raises(Refused, match=why):
        parse_destination(url, production)


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "authority"),
    [
        ("https://example.com", "example.com", 443, "/", "example.com"),
        (
            "https://EXAMPLE.com:8443/Hooks?a=1&b=%20",
            "example.com",
            8443,
            "/Hooks?a=1&b=%20",
            "example.com:8443",
        ),
        ("https://müller.example/x", "xn--mller-kva.example", 443, "/x", "xn--mller-kva.example"),
        ("https://[2606:2800:21f:cb07::1]/", "2606:2800:21f:cb07::1", 443, "/", "[2606:2800:21f:cb07::1]"),
        ("https://93.184.215.14/", "93.184.215.14", 443, "/", "93.184.215.14"),
        ("https://a.example?x", "a.example", 443, "/?x", "a.example"),
    ],
)
def test_plain_urls_are_read_as_they_are_meant(
    url: str, host: str, port: int, target: str, authority: str
) -> None:
    read = parse_destination(url, RULES)
    assert (read.host, read.port, read.target, read.authority) == (host, port, target, authority)


@given(st.text(max_size=60), st.text(max_size=30))
def test_whatever_is_written_is_refused_or_read_as_everybody_reads_it(authority: str, rest: str) -> None:
    url = f"http://{authority}/{rest}"
    try:
        read = parse_destination(url, RULES)
    except Refused:
        return
    assert read.host.isascii()
    assert read.target.isascii()
    assert not set(read.target) & set(" \t\r\n\0#")


@given(st.ip_addresses(v=4))
def test_an_address_is_as_forbidden_in_every_wrapping_as_bare(address: object) -> None:
    rules = AddressRules()
    try:
        rules.require_allowed(str(address))
    except Refused:
        for form in ("::ffff:{}", "64:ff9b::{}"):
            with pytest.raises(Refused):
                rules.require_allowed(form.format(address))
