"""One-off messages through a real gateway: how many are durably accepted, and how long each is on its way to the relay."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

from bench.sending.campaign import launch
from bench.sending.posting import Load
from bench.sending.processor import await_idle, difference, used_by
from bench.sending.sinks import noted, receiver
from bench.sending.stage import PLAIN_DOMAIN, Platform, stage
from bench.sending.turns import Turn, say, say_turn, together

_SINGLE_PER_SECOND = 1_000
_BULK_PER_SECOND = 15_000
# Messages a request, and connections.
_ONE_BY_ONE, _IN_BULK = (1, 64), (500, 8)
# What is accepted in them is sent before the next turn.
_FLOOD_SECONDS = 3.0

_P50_IDLE, _P99_IDLE, _P99_BUSY = 0.060, 0.250, 1.0  # seconds
_PACE = 50.0  # messages a second
_PACED_SECONDS = 10.0
_PACED_CONNECTIONS = 32
# Before the campaign is at full speed.
_HEAD_START = 2_000
_PATIENCE = 600.0

_ACCEPTED = "SELECT count(*) FROM sending.messages WHERE starts_with(email, %s)"
_UNDER_WAY = """
    SELECT EXISTS (SELECT FROM sending.messages WHERE campaign_id IS NULL AND settled_at IS NULL)
"""


def accepted(rounds: int) -> dict[str, Any]:
    """Messages a second that are durably accepted, one by one and in bulk, in turns.

    What is stated is how many the API takes, so that suppression and delivery stand still meanwhile, as they have machines of their own
    where that many come for long. The same is told with all on this machine at once.
    """
    turns: dict[str, list[Turn]] = {
        name: [] for name in ("single", "bulk", "single_and_sent", "bulk_and_sent")
    }
    with _platform() as (platform, _):
        for number in range(rounds + 1):
            for name, taken in turns.items():
                behind = () if name.endswith("_and_sent") else ("suppression", "delivery")
                size, connections = _ONE_BY_ONE if name.startswith("single") else _IN_BULK
                with platform.held(*behind):
                    turn = _flood(platform, f"{name}-{number}-", size, connections)
                _await_quiet(platform)
                say_turn(name, turn)
                if number:
                    # The first round warms up.
                    taken.append(turn)
    figures = {name: together(taken) for name, taken in turns.items()}
    meets = (
        figures["single"]["messages_per_second"] >= _SINGLE_PER_SECOND
        and figures["bulk"]["messages_per_second"] >= _BULK_PER_SECOND
    )
    return figures | {"meets": meets}


def on_its_way(recipients: int) -> dict[str, Any]:
    """Seconds from a message's 202 to its last byte at the relay, when nothing else happens and while a campaign goes out."""
    with _platform() as (platform, arrivals):
        list_id = platform.stage.add_audience(recipients)
        idle = _delays(platform, "idle-", arrivals)
        campaign = asyncio.run(_launched(platform, str(list_id)))
        _await(lambda: len(noted(arrivals)) >= _HEAD_START + len(idle), "the campaign does not begin")
        busy = _delays(platform, "busy-", arrivals)
        still = platform.stage.look("SELECT status FROM sending.campaigns WHERE id = %s", campaign)
    figures = {"idle": _percentiles(idle), "while_a_campaign_goes_out": _percentiles(busy)}
    if still != [("sending",)]:
        say("the campaign was over before the messages were: give it more recipients")
    meets = (
        still == [("sending",)]
        and figures["idle"]["p50"] <= _P50_IDLE
        and figures["idle"]["p99"] <= _P99_IDLE
        and figures["while_a_campaign_goes_out"]["p99"] <= _P99_BUSY
    )
    return figures | {"meets": meets}


@contextmanager
def _platform() -> Iterator[tuple[Platform, Path]]:
    """The platform with its gateway, and where its relay notes what arrived."""
    with stage() as made:
        arrivals = made.folder / "arrivals"
        arrivals.touch()
        with receiver(arrivals) as sink, made.platform(sink.port, gateway=True) as platform:
            platform.pids["relay"] = [sink.pid]
            yield platform, arrivals


def _flood(platform: Platform, prefix: str, size: int, connections: int) -> Turn:
    """As many messages as the gateway takes in some seconds. All that it said it took must be there."""
    before = used_by(platform.pids)
    answer = _posted(_load(platform, prefix, size, connections, _FLOOD_SECONDS))
    messages = answer["requests"] * size
    taken = difference(before, used_by(platform.pids))
    found = platform.stage.look(_ACCEPTED, prefix)
    if found != [(messages,)]:
        raise SystemExit(f"{messages} messages were accepted, {found[0][0]} are there")
    return Turn(messages, answer["seconds"], taken)


def _delays(platform: Platform, prefix: str, arrivals: Path) -> list[float]:
    """How long messages took that were posted at a steady pace."""
    notes = platform.stage.folder / f"{prefix}accepted"
    _posted(_load(platform, prefix, 1, _PACED_CONNECTIONS, _PACED_SECONDS, pace=_PACE, notes=str(notes)))
    accepted = noted(notes)
    _await(lambda: accepted.keys() <= noted(arrivals).keys(), "messages were accepted and not handed over")
    arrived = noted(arrivals)
    return [arrived[recipient] - moment for recipient, moment in accepted.items()]


def _load(
    platform: Platform,
    prefix: str,
    size: int,
    connections: int,
    seconds: float,
    *,
    pace: float = 0.0,
    notes: str = "",
) -> Load:
    port = int(platform.addresses.listen["gateway"].rpartition(":")[2])
    return Load(port, platform.stage.api_key(), prefix, size, connections, seconds, pace, notes)


def _posted(load: Load) -> Mapping[str, Any]:
    done = subprocess.run(  # noqa: S603 - of our own
        [sys.executable, "-m", "bench.sending.posting", load.argument()], check=True, capture_output=True
    )
    answer: Mapping[str, Any] = json.loads(done.stdout)
    if answer["refused"]:
        raise SystemExit(f"not a 202: {answer['refused']}")
    return answer


async def _launched(platform: Platform, list_id: str) -> str:
    async with platform.stage.peer("sending") as peer:
        await peer.channel.channel_ready()
        return await launch(platform, peer, list_id, PLAIN_DOMAIN)


def _await_quiet(platform: Platform) -> None:
    """Wait until all that was accepted is handed over, so that the next turn finds an idle platform."""
    _await(
        lambda: platform.stage.look(_UNDER_WAY) == [(False,)], "messages were accepted and not handed over"
    )
    await_idle(platform.pids)


def _await(condition: Callable[[], bool], failure: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(failure)
        time.sleep(0.5)


def _percentiles(delays: Sequence[float]) -> dict[str, float]:
    cuts = quantiles(delays, n=100)
    return {
        "messages": len(delays),
        "p50": round(cuts[49], 4),
        "p99": round(cuts[98], 4),
        "longest": round(max(delays), 4),
    }
