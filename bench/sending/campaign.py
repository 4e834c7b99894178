"""A campaign from its launch to its last handover, everything persisted, beside what limits it.

Unsigned that is the engine's connections alone, without database, rendering or veto; signed it is the processor, which can only
sign so many times a second.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import psycopg

from bench.sending import letter
from bench.sending.contenders import own_turn
from bench.sending.processor import await_idle, difference, used_by
from bench.sending.sinks import Sink, debian_sink
from bench.sending.stage import PLAIN_DOMAIN, SIGNED_DOMAIN, Platform, stage
from bench.sending.turns import Turn, say, say_turn, times, together
from chassis.rpc.client import Peer
from flownurture.sending.v1 import campaigns_pb2 as pb
from flownurture.sending.v1.campaigns_pb2_grpc import CampaignServiceStub

_MESSAGES_PER_SECOND = 4_000
_SHARE_OF_BARE = 0.35
_SHARE_OF_SIGNING = 0.80
WARMING_UP = 2_000
_LOOK_SECONDS = 0.25
# A campaign that has made no progress for so long never ends.
_MOST_SECONDS_A_MESSAGE = 0.02
_LEAST_PATIENCE = 120.0

_PROGRESS = "SELECT status FROM sending.campaigns WHERE id = %s"
_OUTCOME = """
    SELECT count(*) FILTER (WHERE status = 'sent'), extract(epoch FROM max(settled_at))::float8
    FROM sending.messages WHERE campaign_id = %s
"""


def unsigned(recipients: int, rounds: int) -> dict[str, Any]:
    """A campaign with one and with two delivery processes, and the engine's connections alone, in turns."""
    figures = _measured(
        PLAIN_DOMAIN, recipients, rounds, "bare", lambda sink: own_turn("engine", sink, recipients)
    )
    figures["meets"] = (
        figures["campaign"]["messages_per_second"] >= _MESSAGES_PER_SECOND
        and figures["share_of_bare"] >= _SHARE_OF_BARE
    )
    return figures


def signed(recipients: int, rounds: int) -> dict[str, Any]:
    """The same with an RSA-2048 signature in each mail, and a loop that only signs, on as many threads as there are cores."""
    figures = _measured(SIGNED_DOMAIN, recipients, rounds, "signing", lambda _: _signing())
    return figures | {"meets": figures["share_of_signing"] >= _SHARE_OF_SIGNING}


def send(platform: Platform, list_id: UUID, recipients: int, domain: str, sink: Sink) -> Turn:
    """Launch a campaign through the sending process' RPC as the gateway would, and wait until it is completed.

    The clock runs from before the launch until the last result is being written; that is what `settled_at` says. Processor time is
    counted until all is quiet: what others make of the results is part of what a message costs.
    """
    processes = platform.pids | {"relay": [sink.pid]}
    before = used_by(processes)
    campaign, launched_at = asyncio.run(_launch(platform, list_id, domain))
    _await_completion(platform, campaign, recipients)
    await_idle(processes)
    ((sent, last_at),) = platform.stage.look(_OUTCOME, campaign)
    if sent != recipients:
        raise SystemExit(f"{sent} of {recipients} messages were sent")
    return Turn(recipients, float(str(last_at)) - launched_at, difference(before, used_by(processes)))


async def launch(platform: Platform, peer: Peer, list_id: UUID | str, domain: str) -> str:
    """Launch a campaign to a list; answers its id."""
    campaigns, context = CampaignServiceStub(peer.channel), platform.stage.context
    draft = await peer.call(
        campaigns.CreateCampaign,
        pb.CreateCampaignRequest(
            name="June",
            subject=letter.SUBJECT,
            from_name="Ada",
            from_email=f"news@{domain}",
            html=letter.html(),
            text=letter.plain(),
            audience=pb.CampaignAudience(list_ids=[str(list_id)]),
        ),
        context,
    )
    await peer.call(campaigns.LaunchCampaign, pb.LaunchCampaignRequest(campaign_id=draft.id), context)
    return draft.id


async def _launch(platform: Platform, list_id: UUID, domain: str) -> tuple[str, float]:
    async with platform.stage.peer("sending") as peer:
        await peer.channel.channel_ready()
        began = time.time()
        return await launch(platform, peer, list_id, domain), began


def _await_completion(platform: Platform, campaign: str, recipients: int) -> None:
    deadline = time.monotonic() + _LEAST_PATIENCE + recipients * _MOST_SECONDS_A_MESSAGE
    # One session for all looks: opening one costs PostgreSQL as much as dozens of messages do.
    with psycopg.connect(platform.stage.admin_url, autocommit=True) as connection:
        while connection.execute(_PROGRESS, [campaign]).fetchone() != ("completed",):
            if time.monotonic() > deadline:
                raise SystemExit("the campaign does not come to an end")
            time.sleep(_LOOK_SECONDS)


def _measured(
    domain: str, recipients: int, rounds: int, limit: str, limiting: Callable[[Sink], Turn]
) -> dict[str, Any]:
    """Both, in turns; what is reported as the campaign is the better of one delivery process and two."""
    turns: dict[str, list[Turn]] = {"one delivery process": [], "two delivery processes": [], limit: []}
    with ExitStack() as stack:
        made = stack.enter_context(stage())
        say(f"{recipients:,} contacts are made")
        list_id, few = made.add_audience(recipients), made.add_audience(WARMING_UP)
        sink = stack.enter_context(debian_sink())
        platform = stack.enter_context(made.platform(sink.port))
        send(platform, few, WARMING_UP, domain, sink)
        for _ in range(rounds):
            turns["one delivery process"].append(send(platform, list_id, recipients, domain, sink))
            with platform.running("delivery"):
                send(platform, few, WARMING_UP, domain, sink)
                turns["two delivery processes"].append(send(platform, list_id, recipients, domain, sink))
            turns[limit].append(limiting(sink))
            for name, taken in turns.items():
                say_turn(name, taken[-1])
    found = {name: together(taken) for name, taken in turns.items()}
    better = max(
        ("one delivery process", "two delivery processes"),
        key=lambda name: float(found[name]["messages_per_second"]),
    )
    return found | {
        "recipients": recipients,
        "recommended": better,
        "campaign": found[better],
        f"share_of_{limit}": round(times(turns[better], turns[limit]), 3),
    }


def _signing() -> Turn:
    measured = subprocess.run(
        [sys.executable, "-m", "bench.sending.signing"], check=True, capture_output=True
    )
    return Turn(**json.loads(measured.stdout))
