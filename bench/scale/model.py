"""What a volume of mail takes, computed from what each message costs: cores by process, what PostgreSQL writes and keeps, and events.

A model of sums. It knows no queueing: `busy` leaves room for that. It says where the next limit is, not how fast a machine is.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from math import ceil

_SECONDS_A_DAY = 86_400
# Servers, of which the model has limits of their own.
_SERVERS = frozenset({"postgres", "nats", "redis"})


@dataclass(frozen=True, slots=True)
class Cost:
    """What one of something costs; processor time in microseconds by process, the rest in bytes and events."""

    processor_microseconds: Mapping[str, float]
    written_bytes: float
    kept_bytes: float
    events: float
    event_bytes: float


@dataclass(frozen=True, slots=True)
class Limit:
    """What one of an engine carries."""

    label: str
    limit: float


@dataclass(frozen=True)
class Assumptions:
    """What is taken for given: see `assumptions.toml`, which is read by default."""

    volumes: tuple[int, ...]
    peak: float
    single_share: float
    opens: float
    kept_days: float
    busy: float
    engines: Mapping[str, Limit]

    @classmethod
    def read(cls) -> "Assumptions":
        """Those of the file."""
        listed = tomllib.loads(_text("assumptions.toml"))
        engines = {name: Limit(**engine) for name, engine in listed["engines"].items()}
        return cls(tuple(listed["volumes"]), **listed["load"], **listed["machine"], engines=engines)


@dataclass(frozen=True)
class Demand:
    """What so many messages a day take, at their peak."""

    messages_a_day: int
    costs: Mapping[str, Cost]
    assumed: Assumptions

    @property
    def mean(self) -> float:
        """Messages a second, over the day."""
        return self.messages_a_day / _SECONDS_A_DAY

    @property
    def peak(self) -> float:
        """Messages a second, in the busiest hour."""
        return self.mean * self.assumed.peak

    def cores(self, process: str) -> float:
        """Cores that a process has to have, or a server, none of them busier than it may be."""
        return self._cores(lambda cost: cost.processor_microseconds[process])

    @property
    def all_cores(self) -> float:
        """Those of all processes and servers."""
        return self._cores(lambda cost: sum(cost.processor_microseconds.values()))

    def processes(self) -> list[str]:
        """The platform's own, the hungriest first."""
        own = self.costs["campaign_message"].processor_microseconds.keys() - _SERVERS
        return sorted(own, key=self.cores, reverse=True)

    @cached_property
    def engines(self) -> Mapping[str, float]:
        """What is asked of each engine, in the unit of its limit."""
        return {
            "postgresql_cores": self.cores("postgres"),
            "postgresql_wal": self.peak * self._of_a_message(lambda cost: cost.written_bytes) / 1e6,
            "postgresql_kept": self.messages_a_day
            * self._of_a_message(lambda cost: cost.kept_bytes)
            * self.assumed.kept_days
            / 1e12,
            "jetstream_publishes": self.peak * self._of_a_message(lambda cost: cost.events),
        }

    def share(self, engine: str) -> float:
        """Of what one of an engine carries; beyond 1 there have to be several."""
        return self.engines[engine] / self.assumed.engines[engine].limit

    @property
    def first_limit(self) -> str:
        """The engine that is full first."""
        return max(self.engines, key=self.share)

    @property
    def cells(self) -> int:
        """How many of the whole it takes, where each has one of every engine."""
        return ceil(self.share(self.first_limit))

    def _cores(self, microseconds: Callable[[Cost], float]) -> float:
        return self.peak * self._of_a_message(microseconds) / 1e6 / self.assumed.busy

    def _of_a_message(self, part: Callable[[Cost], float]) -> float:
        """A part of what a message of the mixture costs, with what comes after it."""
        campaign = 1 - self.assumed.single_share
        return float(
            campaign * (part(self.costs["campaign_message"]) + self.assumed.opens * part(self.costs["open"]))
            + self.assumed.single_share * part(self.costs["single_message"])
        )


def measured_costs() -> dict[str, Cost]:
    """Those that `python -m bench.scale costs --write` has written down."""
    return {
        name: Cost(**cost) for name, cost in json.loads(_text("costs.json")).items() if name != "measured"
    }


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text()
