"""What delays are measured on: the platform behind its gateway, idle or beside a campaign, and how they are told."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from bench.sending.campaign import launch
from bench.sending.sinks import noted, receiver
from bench.sending.stage import PLAIN_DOMAIN, Platform, stage

# Before a campaign is at full speed.
_HEAD_START = 2_000
_PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Site:
    """The platform with its gateway, and where its relay notes what arrived."""

    platform: Platform
    arrivals: Path

    @property
    def port(self) -> int:
        """Where the gateway listens."""
        return int(self.platform.addresses.listen["gateway"].rpartition(":")[2])

    def campaign_under_way(self, recipients: int) -> str:
        """Launch a campaign to so many; answers its id once it is at full speed."""
        before = len(noted(self.arrivals))
        list_id = self.platform.stage.add_audience(recipients)
        campaign = asyncio.run(_launched(self.platform, str(list_id)))
        await_that(lambda: len(noted(self.arrivals)) >= before + _HEAD_START, "the campaign does not begin")
        return campaign

    def goes_out(self, campaign: str) -> bool:
        """Whether some of it still has to."""
        status = self.platform.stage.look("SELECT status FROM sending.campaigns WHERE id = %s", campaign)
        return status == [("sending",)]


@contextmanager
def site() -> Iterator[Site]:
    """Everything, until this is left."""
    with stage() as made:
        arrivals = made.folder / "arrivals"
        arrivals.touch()
        with receiver(arrivals) as sink, made.platform(sink.port, gateway=True) as platform:
            platform.pids["relay"] = [sink.pid]
            yield Site(platform, arrivals)


def await_that(condition: Callable[[], bool], failure: str) -> None:
    """Wait until it holds; exits with the failure after ten minutes."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(failure)
        time.sleep(0.5)


def percentiles(delays: Sequence[float]) -> dict[str, float]:
    """How they lie, in seconds."""
    cuts = quantiles(delays, n=100)
    return {
        "count": len(delays),
        "p50": round(cuts[49], 4),
        "p99": round(cuts[98], 4),
        "longest": round(max(delays), 4),
    }


async def _launched(platform: Platform, list_id: str) -> str:
    async with platform.stage.peer("sending") as peer:
        await peer.channel.channel_ready()
        return await launch(platform, peer, list_id, PLAIN_DOMAIN)
