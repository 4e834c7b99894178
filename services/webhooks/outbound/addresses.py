"""Which addresses may be connected to: those of the public internet, and ranges that the operator allows.

IANA's registries of special-purpose addresses (RFC 6890) say which are not public; `ipaddress` knows them, but not that an IPv6 address may
only be a wrapping of an IPv4 one, which a gateway on the way would unwrap.
"""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network

# Where the IPv4 address lies that is wrapped: how many bits stand behind it.
_WRAPPINGS: tuple[tuple[IPv6Network, int], ...] = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped, RFC 4291 §2.5.5.2
    (IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated, RFC 2765
    (IPv6Network("::/96"), 0),  # IPv4-compatible, RFC 4291 §2.5.5.1
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (IPv6Network("64:ff9b:1::/48"), 0),  # NAT64 of a network of its own, RFC 8215
    (IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
)
# All that is assigned to be public (RFC 4291 §2.4); what is not assigned yet, some networks use for themselves.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_MOST_REMEMBERED = 10_000
_TEREDO = IPv6Network("2001::/32")
# What is not for anybody's webhooks though some versions of the registry call it global.
_NEVER: tuple[IPNetwork, ...] = tuple(
    ip_network(each)
    for each in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # shared by a carrier's customers, RFC 6598
        "168.63.129.16/32",  # Azure's own, from within a machine there
        "192.0.0.0/24",
        "192.31.196.0/24",  # AS112, RFC 7535
        "192.52.193.0/24",  # AMT, RFC 7450
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.175.48.0/24",  # AS112, RFC 7534
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)


class Refused(Exception):
    """What a customer named must not be posted to; the message says why, and can be shown to them."""


class AddressRules:
    """What may be connected to. `allowed_ranges` are the operator's own exceptions, empty in production."""

    def __init__(self, allowed_ranges: Sequence[IPNetwork] = ()) -> None:
        self._allowed_ranges = tuple(allowed_ranges)
        # What these rules say of an address never changes, and is asked for every post.
        self._let_through: set[str] = set()

    def require_allowed(self, address: str) -> None:
        """Raise Refused for an address that is not public, in whatever form, or is none at all."""
        if address in self._let_through:
            return
        self._look_at(address)
        if len(self._let_through) >= _MOST_REMEMBERED:
            self._let_through.clear()
        self._let_through.add(address)

    def _look_at(self, address: str) -> None:
        try:
            parsed = ip_address(address)
        except ValueError:
            raise Refused("It does not lead to an address.") from None
        if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
            raise Refused("It leads to an address of one network alone.")
        if self._is_allowed(parsed):
            return
        if not all(map(_is_public, (parsed, *wrapped(parsed)))):
            raise Refused("It leads to an address that is not public.")

    def _is_allowed(self, address: IPAddress) -> bool:
        return any(address in each for each in self._allowed_ranges if each.version == address.version)


def wrapped(address: IPAddress) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 one may stand for, on its way."""
    if isinstance(address, IPv4Address):
        return
    for network, bits_behind in _WRAPPINGS:
        if address in network:
            yield IPv4Address(int(address) >> bits_behind & 0xFFFFFFFF)
    if address in _TEREDO and address.teredo is not None:
        yield from address.teredo


def _is_public(address: IPAddress) -> bool:
    forbidden = any(address in each for each in _NEVER if each.version == address.version)
    if forbidden or address.is_multicast:
        return False
    if isinstance(address, IPv6Address) and next(wrapped(address), None) is not None:
        # It is as public as what it wraps, except those that are in use by nobody.
        return address not in _WRAPPINGS[2][0] and address not in _WRAPPINGS[1][0]
    return address.is_global and (isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST)
