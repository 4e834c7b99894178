"""What is known of a name, and for how long, against a name server over real UDP."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_network

import pytest

from services.webhooks.outbound.addresses import AddressRules
from services.webhooks.outbound.resolver import Resolver, Unresolved
from services.webhooks.outbound.tests.zone import serving

RULES = AddressRules()
PUBLIC = ["93.184.215.14"]


async def test_a_name_is_asked_for_again_when_the_dns_no_longer_lets_it_be_kept() -> None:
    async with serving({"kept.test": {"A": PUBLIC}}) as (nameserver, zone):
        resolver = Resolver(nameserver)
        for _ in range(3):
            assert await resolver.addresses("kept.test", RULES) == PUBLIC
        assert zone.questions.count("kept.test A") == 3
        zone.ttl = 3_600
        for _ in range(3):
            assert await resolver.addresses("kept.test", RULES) == PUBLIC
        assert zone.questions.count("kept.test A") == 4


async def test_nothing_is_kept_for_longer_than_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    at = 0.0
    monkeypatch.setattr("services.webhooks.outbound.resolver.monotonic", lambda: at)
    answers = iter([PUBLIC, ["93.184.215.15"]])
    async with serving({"kept.test": {"A": lambda: next(answers)}}) as (nameserver, zone):
        zone.ttl = 86_400
        resolver = Resolver(nameserver)
        assert await resolver.addresses("kept.test", RULES) == PUBLIC
        at = 59.0
        assert await resolver.addresses("kept.test", RULES) == PUBLIC
        at = 61.0
        assert await resolver.addresses("kept.test", RULES) == ["93.184.215.15"]


async def test_all_who_want_to_know_at_once_are_answered_by_one_question() -> None:
    async with serving({"busy.test": {"A": PUBLIC}}) as (nameserver, zone):
        resolver = Resolver(nameserver)
        found = await asyncio.gather(*(resolver.addresses("busy.test", RULES) for _ in range(50)))
        assert found == [PUBLIC] * 50
        assert sorted(zone.questions) == ["busy.test A", "busy.test AAAA"]


async def test_who_gives_up_leaves_the_answer_to_the_others() -> None:
    async with serving({"busy.test": {"A": PUBLIC}}) as (nameserver, _):
        resolver = Resolver(nameserver)
        first = asyncio.create_task(resolver.addresses("busy.test", RULES))
        second = asyncio.create_task(resolver.addresses("busy.test", RULES))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == PUBLIC


def _broken() -> list[str]:
    raise LookupError


@pytest.mark.parametrize("broken", ["A", "AAAA"])
async def test_half_an_answer_is_none(broken: str) -> None:
    """The half that is missing could be the one that is forbidden."""
    whole: dict[str, Callable[[], list[str]]] = {
        "A": lambda: PUBLIC,
        "AAAA": lambda: ["2606:4700::1111"],
    }
    async with serving({"half.test": {**whole, broken: _broken}}) as (nameserver, _):
        with pytest.raises(Unresolved):
            await Resolver(nameserver).addresses("half.test", RULES)


async def test_localhost_is_this_machine_and_nobody_is_asked() -> None:
    loopback = AddressRules([ip_network("127.0.0.0/8"), ip_network("::1/128")])
    async with serving({}) as (nameserver, zone):
        for name in ("localhost", "any.localhost"):
            assert await Resolver(nameserver).addresses(name, loopback) == ["127.0.0.1", "::1"]
        assert zone.questions == []


async def test_a_name_is_asked_for_as_it_is_without_any_domain_behind_it() -> None:
    async with serving({}) as (nameserver, zone):
        with pytest.raises(Unresolved):
            await Resolver(nameserver).addresses("intranet", RULES)
        assert sorted(zone.questions) == ["intranet A", "intranet AAAA"]
