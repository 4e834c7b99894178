"""One-off messages through a real gateway: how many are durably accepted, and how long each is on its way to the relay."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from bench.sending.delays import Site, await_that, percentiles, site
from bench.sending.posting import Load
from bench.sending.processor import await_idle, difference, used_by
from bench.sending.sinks import noted
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
    with site() as here:
        for number in range(rounds + 1):
            for name, taken in turns.items():
                behind = () if name.endswith("_and_sent") else ("suppression", "delivery")
                size, connections = _ONE_BY_ONE if name.startswith("single") else _IN_BULK
                with here.platform.held(*behind):
                    turn = _flood(here, f"{name}-{number}-", size, connections)
                _await_quiet(here)
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
    with site() as here:
        idle = _delays(here, "idle-")
        campaign = here.campaign_under_way(recipients)
        busy = _delays(here, "busy-")
        in_time = here.goes_out(campaign)
    figures = {"idle": percentiles(idle), "while_a_campaign_goes_out": percentiles(busy)}
    if not in_time:
        say("the campaign was over before the messages were: give it more recipients")
    meets = (
        in_time
        and figures["idle"]["p50"] <= _P50_IDLE
        and figures["idle"]["p99"] <= _P99_IDLE
        and figures["while_a_campaign_goes_out"]["p99"] <= _P99_BUSY
    )
    return figures | {"meets": meets}


def _flood(here: Site, prefix: str, size: int, connections: int) -> Turn:
    """As many messages as the gateway takes in some seconds. All that it said it took must be there."""
    before = used_by(here.platform.pids)
    answer = _posted(_load(here, prefix, size, connections, _FLOOD_SECONDS))
    messages = answer["requests"] * size
    taken = difference(before, used_by(here.platform.pids))
    found = here.platform.stage.look(_ACCEPTED, prefix)
    if found != [(messages,)]:
        raise SystemExit(f"{messages} messages were accepted, {found[0][0]} are there")
    return Turn(messages, answer["seconds"], taken)


def _delays(here: Site, prefix: str) -> list[float]:
    """How long messages took that were posted at a steady pace."""
    notes = here.platform.stage.folder / f"{prefix}accepted"
    _posted(_load(here, prefix, 1, _PACED_CONNECTIONS, _PACED_SECONDS, pace=_PACE, notes=str(notes)))
    accepted = noted(notes)
    await_that(
        lambda: accepted.keys() <= noted(here.arrivals).keys(), "messages were accepted and not handed over"
    )
    arrived = noted(here.arrivals)
    return [arrived[recipient] - moment for recipient, moment in accepted.items()]


def _load(
    here: Site,
    prefix: str,
    size: int,
    connections: int,
    seconds: float,
    *,
    pace: float = 0.0,
    notes: str = "",
) -> Load:
    key = here.platform.stage.api_key()
    return Load(here.port, key, prefix, size, connections, seconds, pace, notes)


def _posted(load: Load) -> Mapping[str, Any]:
    done = subprocess.run(  # noqa: S603 - of our own
        [sys.executable, "-m", "bench.sending.posting", load.argument()], check=True, capture_output=True
    )
    answer: Mapping[str, Any] = json.loads(done.stdout)
    if answer["refused"]:
        raise SystemExit(f"not a 202: {answer['refused']}")
    return answer


def _await_quiet(here: Site) -> None:
    """Wait until all that was accepted is handed over, so that the next turn finds an idle platform."""
    nothing = [(False,)]
    await_that(
        lambda: here.platform.stage.look(_UNDER_WAY) == nothing, "messages were accepted and not handed over"
    )
    await_idle(here.platform.pids)
