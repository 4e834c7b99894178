"""Whose DMARC policy holds for a domain (RFC 9989 §4.10), by a walk through a real DNS."""

from uuid import uuid4

import pytest

from deploy.local.nameserver.server import Nameserver
from services.sending.dmarc import policy_of
from services.sending.dns import Dns

NONE, REJECT = "v=DMARC1; p=none", "v=DMARC1; p=reject"


@pytest.mark.parametrize(
    ("domain", "published", "holds"),
    [
        ("shop", {}, None),
        ("shop", {"shop": [NONE]}, "shop"),
        ("a.shop", {"a.shop": [NONE], "shop": [REJECT]}, "a.shop"),
        ("a.b.shop", {"b.shop": [NONE], "shop": [REJECT]}, "shop"),
        ("a.b.shop", {"b.shop": [f"{NONE}; psd=n"], "shop": [REJECT]}, "b.shop"),
        ("a.shop.reg", {"shop.reg": [NONE], "reg": [f"{REJECT}; psd=y"]}, "shop.reg"),
        ("a.b.shop.reg", {"b.shop.reg": [NONE], "reg": [f"{REJECT}; psd=y"]}, "reg"),
        ("shop.reg", {"reg": [f"{REJECT}; psd=y"]}, "reg"),
        ("shop", {"shop": [NONE, REJECT]}, None),
        ("shop", {"shop": [NONE, "v=DMARC12; p=reject", "hello"]}, "shop"),
        ("shop", {"shop": ["p=none; v=DMARC1"]}, None),
        ("shop", {"shop": ["v=DMARC1; p=perhaps"]}, None),
        ("shop", {"shop": ["v=DMARC1; rua=mailto:a@shop.test"]}, "shop"),
        ("shop", {"shop": ["v=DMARC1; p=none; pct=50"]}, "shop"),
        # Of nine labels seven are left, so that the first of these two is not asked for.
        ("1.2.3.4.5.6.7", {"2.3.4.5.6.7": [NONE]}, None),
        ("1.2.3.4.5.6.7", {"3.4.5.6.7": [NONE]}, "3.4.5.6.7"),
    ],
)
async def test_the_policy_that_holds_is_found(
    nameserver: Nameserver, domain: str, published: dict[str, list[str]], holds: str | None
) -> None:
    # Two labels, the names of each case its own.
    root = f"{uuid4().hex}.test"
    for name, records in published.items():
        nameserver.zone.publish(f"_dmarc.{name}.{root}", "TXT", records)
    found = await policy_of(Dns(nameserver.address), f"{domain}.{root}")
    assert (found and found[0]) == (holds and f"{holds}.{root}")
