"""Where a client is and what it calls itself: as far as our own proxies tell, and signed in the stamp."""

import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import httpx
import pytest

from chassis.context import RequestContext
from deploy.local.servers.program import free_address
from gateway.exchange import LONGEST_USER_AGENT
from gateway.tests.house import House


@pytest.fixture(scope="module")
async def behind(house: House) -> AsyncIterator[dict[int, House]]:
    """The house by the number of proxies that its gateway trusts."""
    async with house.beside(trusted_proxies=1) as one, house.beside(trusted_proxies=2) as two:
        yield {0: house, 1: one, 2: two}


async def stamped(house: House, *lines: str, user_agent: bytes = b"") -> RequestContext:
    """The context, out of a verified stamp, of a log-in with these lines of X-Forwarded-For."""
    request_id = uuid4().hex
    headers = [(b"x-request-id", request_id.encode()), (b"user-agent", user_agent)]
    headers += [(b"x-forwarded-for", line.encode()) for line in lines]
    log_in = {"email": "ines@people.test", "password": "a quiet river bend"}
    await house.client.post("/v1/auth/login", headers=headers, json=log_in)
    (asked,) = house.services["AuthService"].of(request_id)
    return asked.context


@pytest.mark.parametrize(
    ("proxies", "lines", "address"),
    [
        (0, [], "127.0.0.1"),
        (0, ["203.0.113.9"], "127.0.0.1"),
        (1, ["203.0.113.9"], "203.0.113.9"),
        (1, ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (1, ["198.51.100.1,,  203.0.113.9"], "203.0.113.9"),
        (1, ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        (2, ["198.51.100.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (2, ["198.51.100.1", "203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        (2, ["198.51.100.1, 203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        (1, ["2001:DB8::0:1"], "2001:db8::1"),
        (1, ["::ffff:203.0.113.9"], "203.0.113.9"),
        (1, [], "127.0.0.1"),
        (2, ["203.0.113.9"], "127.0.0.1"),
        (1, ["203.0.113.9, unknown"], ""),
        (1, ["203.0.113.9, 127.0.0.1; DROP TABLE"], ""),
    ],
    ids=[
        "nobody says anything",
        "a client says it of itself",
        "our proxy says it",
        "a client says it, our proxy adds to it",
        "a client says nothing in between",
        "our proxy adds a line of its own",
        "two proxies",
        "two proxies that add lines",
        "two proxies, one of which adds a line",
        "a client of IPv6",
        "a client of IPv4 at a proxy of both",
        "past the proxy",
        "past one of the proxies",
        "our proxy does not know",
        "our proxy says nonsense",
    ],
)
async def test_only_what_our_proxies_add_is_believed(
    house: House, behind: dict[int, House], proxies: int, lines: list[str], address: str
) -> None:
    assert (await stamped(behind[proxies], *lines)).client_address == address


@pytest.mark.parametrize(("local", "address"), [("::1", "::1"), ("127.0.0.1", "127.0.0.1")])
async def test_a_socket_of_both_versions_tells_both_apart(house: House, local: str, address: str) -> None:
    port = free_address().rpartition(":")[2]
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no sockets of both versions")
    host = f"[{local}]" if ":" in local else local
    async with (
        house.beside(listen=f"[::]:{port}") as other,
        httpx.AsyncClient(base_url=f"http://{host}:{port}") as client,
    ):
        assert (await stamped(replace(other, client=client))).client_address == address


async def test_every_call_carries_the_address_and_only_those_that_begin_sessions_the_name(
    house: House,
) -> None:
    begins = await stamped(house, user_agent=b"curl/8.5")
    assert (begins.client_address, begins.user_agent) == ("127.0.0.1", "curl/8.5")
    key, _ = house.identity.api_key("contacts:read")
    answer = await house.call("GET", "/v1/contacts", key, headers={"user-agent": "curl/8.5"})
    (asked,) = house.services["ContactService"].of(answer.headers["x-request-id"])
    assert (asked.context.client_address, asked.context.user_agent) == ("127.0.0.1", "")


@pytest.mark.parametrize(
    ("told", "kept"),
    [(b"", ""), (b"a" * (LONGEST_USER_AGENT + 1), "a" * LONGEST_USER_AGENT), (b"Brow\xffser", "")],
    ids=["none", "too long", "not ASCII"],
)
async def test_a_name_is_cut_to_what_can_be_shown(house: House, told: bytes, kept: str) -> None:
    assert (await stamped(house, user_agent=told)).user_agent == kept
