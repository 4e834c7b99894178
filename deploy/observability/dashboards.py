"""Dashboards for Grafana, made of what `dashboards.toml` says is on them."""

import tomllib
from collections.abc import Sequence
from importlib.resources import files

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.builders import prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef
from pydantic import BaseModel, ConfigDict

_HEIGHT, _WIDTH = 8, 8
# Chosen by whoever looks.
_SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")


class Line(BaseModel):
    """What a panel draws, and what a legend calls it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expr: str
    name: str


class Panel(BaseModel):
    """A graph."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    unit: str
    lines: Sequence[Line]


class Row(BaseModel):
    """Panels that belong together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    panel: Sequence[Panel]


class Dashboard(BaseModel):
    """A page of rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uid: str
    title: str
    row: Sequence[Row]

    def expressions(self) -> list[str]:
        """All that it asks for, as Prometheus is asked."""
        lines = (line for row in self.row for panel in row.panel for line in panel.lines)
        return [line.expr.replace("$__rate_interval", "5m") for line in lines]


def dashboards() -> list[Dashboard]:
    """All of them."""
    listed = tomllib.loads(files(__package__).joinpath("dashboards.toml").read_text())
    return [Dashboard(**each) for each in listed["dashboard"]]


def as_grafana_reads_it(dashboard: Dashboard) -> str:
    """The JSON that Grafana imports."""
    built = grafana.Dashboard(dashboard.title).uid(dashboard.uid).tags(["flownurture"]).refresh("1m")
    built = built.time("now-6h", "now").with_variable(grafana.DatasourceVariable("source").type("prometheus"))
    for row in dashboard.row:
        built = built.with_row(grafana.Row(row.title))
        for panel in row.panel:
            built = built.with_panel(_graph(panel))
    return str(JSONEncoder(sort_keys=True, indent=1).encode(built.build())) + "\n"


def _graph(panel: Panel) -> timeseries.Panel:
    graph = timeseries.Panel().title(panel.title).unit(panel.unit).min(0).height(_HEIGHT).span(_WIDTH)
    for number, line in enumerate(panel.lines):
        query = prometheus.Dataquery().expr(line.expr).legend_format(line.name).ref_id(chr(ord("A") + number))
        graph = graph.with_target(query.datasource(_SOURCE))
    return graph.datasource(_SOURCE)
