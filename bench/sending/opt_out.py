"""How long somebody who opts out waits for the answer, idle and while the campaign that wrote to them goes out."""

from collections.abc import Iterator, Sequence
from typing import Any, cast
from uuid import UUID

import uvloop

from bench.sending.delays import Site, await_that, percentiles, site
from bench.sending.posting import post
from bench.sending.processor import await_idle
from bench.sending.stage import Platform
from bench.sending.turns import say
from chassis.secret import Secret
from services.sending.unsubscribe_links import UnsubscribeLinks

_P99_BUSY = 0.050  # seconds
_PACE = 50.0  # opt-outs a second
_SECONDS = 10.0
_CONNECTIONS = 32
_BODY = b"List-Unsubscribe=One-Click"
# Some to whom it is on its way, some who have it.
_RECIPIENTS = """
    SELECT id, email_digest FROM sending.messages WHERE campaign_id = %s ORDER BY hashtext(email) LIMIT %s
"""
_OPTED_OUT = "SELECT count(*) FROM sending.suppressions WHERE reason = 'unsubscribe' AND message_id = ANY(%s)"


def acknowledged(recipients: int) -> dict[str, Any]:
    """Seconds from a one-click POST (RFC 8058) to its answer, at a steady pace, beside a campaign at full speed and after it."""
    with site() as here:
        campaign = here.campaign_under_way(recipients)
        busy = _opt_out(here, campaign, 0)
        in_time = here.goes_out(campaign)
        await_that(lambda: not here.goes_out(campaign), "the campaign does not end")
        await_idle(here.platform.pids)
        idle = _opt_out(here, campaign, 1)
    figures = {"while_a_campaign_goes_out": percentiles(busy), "idle": percentiles(idle)}
    if not in_time:
        say("the campaign was over before the opt-outs were: give it more recipients")
    return figures | {"meets": in_time and figures["while_a_campaign_goes_out"]["p99"] <= _P99_BUSY}


def _opt_out(site: Site, campaign: str, part: int) -> list[float]:
    """How long each waited of a part of the campaign's recipients. All who were answered must be on the list."""
    wanted = round(_PACE * _SECONDS)
    found = site.platform.stage.look(_RECIPIENTS, campaign, (part + 1) * wanted)[part * wanted :]
    people = cast("Sequence[tuple[UUID, bytes]]", found)
    posting = uvloop.run(
        post(
            _requests(site.platform, people),
            port=site.port,
            status=200,
            connections=_CONNECTIONS,
            seconds=_SECONDS * 10,
            pace=_PACE,
        )
    )
    if posting.refused:
        raise SystemExit(f"not a 200: {posting.refused.decode(errors='replace')}")
    listed = site.platform.stage.look(_OPTED_OUT, [message_id for message_id, _ in people])
    if listed != [(len(people),)]:
        raise SystemExit(f"{len(people)} opted out, {listed[0][0]} are on the list")
    return [answered - due for _, due, answered in posting.answers]


def _requests(platform: Platform, people: Sequence[tuple[UUID, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    links = UnsubscribeLinks([Secret(platform.stage.secrets.link_key)], "")
    organization = platform.stage.context.organization
    for message_id, digest in people:
        path = links.url(organization, message_id, bytes(digest))
        head = f"POST {path} HTTP/1.1\r\nHost: flownurture.test\r\nContent-Length: {len(_BODY)}\r\n"
        head += "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        yield message_id.bytes, head.encode() + _BODY
