"""What a message, a receipt and an open cost, measured: processor, what PostgreSQL writes and keeps, and events.

The platform is whole, with every reader of events, so that what others make of a message is part of what it costs. Processor time says
little of a machine on which much else runs: caches are shared.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import uvloop

from bench.sending.campaign import WARMING_UP, send
from bench.sending.delays import await_that
from bench.sending.posting import Load, post
from bench.sending.processor import await_idle, difference, used_by
from bench.sending.sinks import Sink, receiver
from bench.sending.stage import SIGNED_DOMAIN, Platform, stage
from bench.sending.turns import say
from chassis.secret import Secret
from deploy.database.roles import role_list
from services.sending.tracking.links import TrackingLinks

_READERS = ("workflows", "webhooks", "integrations", "feedback")
_A_REQUEST = 500
_CONNECTIONS = 8

_WRITTEN = "SELECT (pg_current_wal_lsn() - '0/0')::float8"
# Without what a vacuum would give back: pages are counted, and they only grow here.
_KEPT = """
    SELECT sum(pg_total_relation_size(c.oid))::float8 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relname <> 'outbox' AND n.nspname = ANY(%s)
"""
_UNION = " UNION ALL ".join(
    f"SELECT count(*) AS events, coalesce(sum(octet_length(envelope)), 0) AS bytes FROM {schema}.outbox"  # noqa: S608 - names of our own
    for schema in role_list().schemas
)
_TOLD = f"SELECT sum(events)::float8, sum(bytes)::float8 FROM ({_UNION}) AS outboxes"  # noqa: S608
_UNDER_WAY = "SELECT EXISTS (SELECT FROM sending.messages WHERE settled_at IS NULL)"
_MESSAGES = "SELECT campaign_id, id FROM sending.messages WHERE campaign_id IS NOT NULL LIMIT %s"
_OPENS = "SELECT count(*) FROM sending.engagement_events"


@dataclass(frozen=True, slots=True)
class Usage:
    """What the platform has used until now; processor seconds by process, bytes, and events that were told."""

    processor: Mapping[str, float]
    written: float
    kept: float
    events: float
    event_bytes: float

    def each(self, before: "Usage", times: int) -> dict[str, Any]:
        """What was used since then, for each of so many; processor time in microseconds."""
        used = difference(before.processor, self.processor)
        return {
            "processor_microseconds": {name: round(spent / times * 1e6) for name, spent in used.items()},
            "written_bytes": round((self.written - before.written) / times),
            "kept_bytes": round((self.kept - before.kept) / times),
            "events": round((self.events - before.events) / times, 4),
            "event_bytes": round((self.event_bytes - before.event_bytes) / times),
        }


def costs(recipients: int) -> dict[str, Any]:
    """What each costs: a signed and tracked mail of a campaign to so many, a receipt by the API, an open."""
    with _everything() as (platform, sink):
        few = platform.stage.add_audience(WARMING_UP)
        everybody = platform.stage.add_audience(recipients)
        send(platform, few, WARMING_UP, SIGNED_DOMAIN, sink)
        _receipts(platform, "first-", WARMING_UP)
        return {
            "campaign_message": _cost(
                platform,
                recipients,
                lambda: send(platform, everybody, recipients, SIGNED_DOMAIN, sink),
            ),
            "single_message": _cost(
                platform, recipients, lambda: _receipts(platform, "receipt-", recipients)
            ),
            "open": _cost(platform, recipients, lambda: _opens(platform, recipients)),
        }


@contextmanager
def _everything() -> Iterator[tuple[Platform, Sink]]:
    with ExitStack() as stack:
        # What was told is counted in the outboxes, so nothing may be pruned: no run takes the days after which it is.
        made = stack.enter_context(stage())
        sink = stack.enter_context(receiver())
        platform = stack.enter_context(made.platform(sink.port, gateway=True))
        for reader in _READERS:
            stack.enter_context(platform.running(reader))
        yield platform, sink


def _cost(platform: Platform, times: int, work: Callable[[], object]) -> dict[str, Any]:
    await_idle(platform.pids)
    before = _usage(platform)
    work()
    await_idle(platform.pids)
    found = _usage(platform).each(before, times)
    say(str(found))
    return found


def _usage(platform: Platform) -> Usage:
    look = platform.stage.look
    ((written,),), ((kept,),) = look(_WRITTEN), look(_KEPT, list(role_list().schemas))
    ((events, event_bytes),) = look(_TOLD)
    figures = cast("tuple[float, float, float, float]", (written, kept, events, event_bytes))
    return Usage(used_by(platform.pids), *figures)


def _receipts(platform: Platform, prefix: str, count: int) -> None:
    load = Load(
        _gateway_port(platform), platform.stage.api_key(), prefix, _A_REQUEST, _CONNECTIONS, seconds=600.0
    )
    requests = load.requests()
    _post((next(requests) for _ in range(count // _A_REQUEST)), platform, 202)
    await_that(lambda: platform.stage.look(_UNDER_WAY) == [(False,)], "messages were not handed over")


def _opens(platform: Platform, count: int) -> None:
    stage = platform.stage
    links = TrackingLinks([Secret(stage.secrets.link_key)], "")
    messages = cast("list[tuple[UUID, UUID]]", stage.look(_MESSAGES, count))
    ((before,),) = stage.look(_OPENS)
    requests = (
        (message.bytes, _pixel(links, stage.context.organization, campaign, message))
        for campaign, message in messages
    )
    _post(requests, platform, 200)
    await_that(
        lambda: stage.look(_OPENS) == [(int(str(before)) + len(messages),)], "opens were not written down"
    )


def _pixel(links: TrackingLinks, organization: UUID, campaign: UUID, message: UUID) -> bytes:
    path = links.pixel + links.token(organization, campaign, message)
    return f"GET {path} HTTP/1.1\r\nHost: flownurture.test\r\nUser-Agent: Mozilla/5.0\r\n\r\n".encode()


def _post(requests: Iterator[tuple[bytes, bytes]], platform: Platform, status: int) -> None:
    posting = uvloop.run(
        post(
            requests,
            port=_gateway_port(platform),
            status=status,
            connections=_CONNECTIONS,
            seconds=600.0,
            pace=0.0,
        )
    )
    if posting.refused:
        raise SystemExit(f"not a {status}: {posting.refused.decode(errors='replace')}")


def _gateway_port(platform: Platform) -> int:
    return int(platform.addresses.listen["gateway"].rpartition(":")[2])
