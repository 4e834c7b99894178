"""Where a URL leads, read once and strictly: what can be read in two ways is refused, not guessed (WHATWG URL, RFC 3986).

What a library for requests would make of odd forms is never asked: the parts that are read here are what is connected to and written into
the request.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

import idna

from services.webhooks.outbound.addresses import AddressRules, Refused
from services.webhooks.outbound.ports import PortRanges

MOST_CHARACTERS = 2_048

_DEFAULT_PORTS = {"http": 80, "https": 443}
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
# The last label of what some resolver would read as an IPv4 address: a number, in any base (WHATWG URL §3.5).
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PATH_AND_QUERY = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/?%]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class DestinationRules:
    """What URLs may name: `ports` those that may be posted to."""

    https_only: bool
    ports: PortRanges
    addresses: AddressRules


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to post. `host` is ASCII in small letters, or an address; `target` is path and query; `authority` is for Host."""

    scheme: str
    host: str
    port: int
    target: str
    authority: str

    @property
    def is_tls(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.scheme == "https"


def parse_destination(url: str, rules: DestinationRules) -> Destination:
    """Read a URL. Raises Refused, with what is wrong, for any that is not plainly what it is; its name is looked up later."""
    if len(url) > MOST_CHARACTERS:
        raise Refused(f"It is longer than {MOST_CHARACTERS:,} characters.")
    scheme, authority, rest = _parts(url)
    if scheme not in _DEFAULT_PORTS:
        raise Refused("It must begin with https://.")
    if rules.https_only and scheme != "https":
        raise Refused("It must begin with https://, so that what is sent cannot be read on its way.")
    host, port = _host_and_port(authority, _DEFAULT_PORTS[scheme])
    if port not in rules.ports:
        raise Refused(f"Port {port} is not among those that may be posted to.")
    if is_address(host):
        rules.addresses.require_allowed(host)
    bracketed = f"[{host}]" if ":" in host else host
    shown = bracketed if port == _DEFAULT_PORTS[scheme] else f"{bracketed}:{port}"
    return Destination(scheme, host, port, _target(rest), shown)


def is_address(host: str) -> bool:
    """Whether a host is an IP address rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _parts(url: str) -> tuple[str, str, str]:
    scheme, separator, behind = url.partition("://")
    if not separator:
        raise Refused("It must begin with https://.")
    end = next((at for at, character in enumerate(behind) if character in "/?#\\"), len(behind))
    authority, rest = behind[:end], behind[end:]
    # What others would read from it has to be the same.
    try:
        same = urlsplit(url).netloc == authority
    except ValueError:
        same = False
    if not same:
        raise Refused("It can be read in more than one way.")
    return scheme.lower() if scheme.isascii() else scheme, authority, rest


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    if "@" in authority:
        raise Refused("It must not hold a user name or password.")
    name, colon, port = authority.rpartition(":")
    if colon and not port.endswith("]") and not authority.endswith("]"):
        ascii_form = f"{_ascii_host(name)}:{port}"
    else:
        ascii_form = _ascii_host(authority)
    match = _AUTHORITY.fullmatch(ascii_form)
    if match is None:
        raise Refused("Its host cannot be read.")
    number = int(match["port"]) if match["port"] else default
    if not 0 < number < 65_536:
        raise Refused(f"Port {number} does not exist.")
    return _host(match["host"]), number


def _ascii_host(host: str) -> str:
    """A name as the DNS knows it (UTS 46, not transitional). Forms of ASCII that only look unlike it are refused."""
    if host.isascii():
        return host
    try:
        encoded = idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        raise Refused("Its host is no name of the DNS.") from None
    if "xn--" not in encoded:
        raise Refused("Its host is written in characters that stand for others.")
    return encoded


def _host(written: str) -> str:
    if written.startswith("["):
        try:
            return IPv6Address(written[1:-1]).compressed
        except ValueError:
            raise Refused("Its host is no address.") from None
    host = written.lower()
    if is_address(host):
        return host
    labels = host.split(".")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise Refused("Its host is no name of the DNS.")
    if _NUMBER.fullmatch(labels[-1]):
        raise Refused("Its host is an address in an unusual form.")
    _refuse_bad_punycode(labels)
    return host


def _refuse_bad_punycode(labels: Sequence[str]) -> None:
    for label in labels:
        if label.startswith("xn--"):
            try:
                idna.decode(label)
            except (idna.IDNAError, UnicodeError):
                raise Refused("Its host is no name of the DNS.") from None


def _target(rest: str) -> str:
    if "#" in rest:
        raise Refused("It must not hold a fragment (#).")
    if rest and (
        not _VISIBLE_ASCII.fullmatch(rest) or not _PATH_AND_QUERY.fullmatch(rest) or _BAD_ESCAPE.search(rest)
    ):
        raise Refused("Its path or query holds characters that must be percent-encoded.")
    return rest if rest.startswith("/") else f"/{rest}"
