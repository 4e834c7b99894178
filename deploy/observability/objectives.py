"""What users are promised (`slos.toml`), and what else somebody is told of (`alerts.toml`), as the files say it."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from deploy.processes import PROCESSES

Severity = Literal["page", "ticket"]


class Series(BaseModel):
    """What a test counts of a promise: all that happened, and what of it was kept or broken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    total: str
    told: str


class Objective(BaseModel):
    """One promise. Either what breaks it is counted, or what keeps it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    objective: float
    promise: str
    total: str
    bad: str | None = None
    good: str | None = None
    series: Series

    @property
    def alert(self) -> str:
        """What the alert about its budget is called."""
        return f"{self.name}Budget"

    @property
    def budget(self) -> float:
        """The share that may be bad."""
        return 1 - self.objective

    def error_ratio(self, window: str) -> str:
        """The share that was bad, of a window until now, as PromQL."""
        told = self.bad or f"({self.total} - {self.good})"
        return Template(f"{told}\n  / {self.total}").substitute(window=window)


class Alert(BaseModel):
    """Something that somebody is told of, once it has held for so long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    severity: Severity
    after: str
    expr: str
    summary: str
    fires: Sequence[str]
    rests: Sequence[str]
    # One for each process, whose name stands for $process.
    each: Literal["process"] | None = None
    labels: Mapping[str, str] = {}

    def instances(self) -> list["Alert"]:
        """The alert itself, or one for each that it is about."""
        if self.each is None:
            return [self]
        return [self._about(process) for process in PROCESSES]

    def _about(self, process: str) -> "Alert":
        def filled(text: str) -> str:
            return text.replace("$process", process)

        return self.model_copy(
            update={
                "expr": filled(self.expr),
                "summary": filled(self.summary),
                "fires": [filled(series) for series in self.fires],
                "rests": [filled(series) for series in self.rests],
                "each": None,
                "labels": {"process": process},
            }
        )


@cache
def objectives() -> Sequence[Objective]:
    """All promises."""
    return [Objective(**each) for each in _read("slos.toml")["slo"]]


@cache
def alerts() -> Sequence[Alert]:
    """All other alerts."""
    return [Alert(**each) for each in _read("alerts.toml")["alert"]]


def alert_names() -> list[str]:
    """What somebody may be told of, by name: each has a runbook."""
    return [*(each.alert for each in objectives()), *(each.name for each in alerts())]


def _read(name: str) -> Mapping[str, Any]:
    return tomllib.loads(files(__package__).joinpath(name).read_text())
