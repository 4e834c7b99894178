"""The parameters of the API's requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from deploy.local.mailbox.finding import Wanted

_FILTERS = frozenset({"to", "from", "subject", "text", "since"})
_PAGING = frozenset({"limit", "page_token", "view"})
_MOST = 1000


class BadQuery(ValueError):
    """A parameter that is unknown or cannot be read."""


@dataclass(frozen=True, slots=True)
class Page:
    """How much of what is wanted, and how much of each message."""

    limit: int
    before: int | None
    whole: bool


def parameters(query: bytes) -> dict[str, str]:
    """The parameters by name; raises BadQuery when one is given twice."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    values = dict(pairs)
    if len(values) < len(pairs):
        raise BadQuery("a parameter is given more than once")
    return values


def wanted(values: Mapping[str, str], *, paged: bool) -> Wanted:
    """What the parameters ask for; raises BadQuery for one that is not known."""
    known = _FILTERS | _PAGING if paged else _FILTERS
    if unknown := sorted(values.keys() - known):
        raise BadQuery(f"{unknown[0]}: is not one of {', '.join(sorted(known))}")
    return Wanted(
        to=values.get("to", ""),
        sender=values.get("from", ""),
        subject=values.get("subject", ""),
        text=values.get("text", ""),
        since=_since(values["since"]) if values.get("since") else None,
    )


def page(values: Mapping[str, str]) -> Page:
    """The page asked for; raises BadQuery."""
    limit = values.get("limit", "") or "50"
    if not limit.isdecimal() or not 1 <= int(limit[:9]) <= _MOST:
        raise BadQuery(f"limit: is not a number from 1 to {_MOST}")
    token = values.get("page_token", "")
    view = values.get("view", "") or "full"
    if view not in ("full", "basic"):
        raise BadQuery("view: is neither full nor basic")
    return Page(int(limit), _message_id(token) if token else None, whole=view == "full")


def _message_id(token: str) -> int:
    if not (token.isascii() and token.isdecimal() and len(token) < 19):
        raise BadQuery("page_token: is not one that this server gave")
    return int(token)


def _since(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuery("since: is not a time of RFC 3339") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
