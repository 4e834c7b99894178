"""What the commands show: the table of what runs where, live on a terminal, line by line elsewhere."""

from collections.abc import Mapping
from datetime import timedelta
from time import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deploy.local.opening import Status, problem

_COLORS = {"ready": "green", "starting": "yellow", "restarting": "red", "not ready": "red", "waiting": "dim"}


class OpeningScreen:
    """Follows an opening."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._told: dict[str, str] = {}

    def __enter__(self) -> "OpeningScreen":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, status: Status) -> None:
        """Show how the house is now."""
        if self._live:
            self._live.update(places(status), refresh=True)
            return
        for room in status["rooms"]:
            if self._told.get(room["name"]) != room["health"] != "waiting":
                self._told[room["name"]] = room["health"]
                self._console.print(
                    f"{room['name']:<14}{room['health']:<12}{room['url']}{problem(room)}", soft_wrap=True
                )


def places(status: Status) -> Table:
    """What runs where."""
    table = Table(
        "what", "where", "pid", "health", title=f"FlowNurture: {status['phase']}", title_justify="left"
    )
    for room in status["rooms"]:
        pid = str(room["pid"] or "")
        table.add_row(room["name"], room["url"], pid, _colored(room["health"], problem(room)))
    return table


def conditions(status: Status, megabytes: Mapping[str, float], unready: Mapping[str, bool]) -> Table:
    """How each part is: for `status`."""
    table = Table("what", "where", "pid", "up for", "restarts", "MiB", "health")
    for room in status["rooms"]:
        name = room["name"]
        up_for = str(timedelta(seconds=int(time() - room["started"]))) if room["pid"] else ""
        health = "not ready" if unready[name] and room["health"] == "ready" else room["health"]
        table.add_row(
            name,
            room["url"],
            str(room["pid"] or ""),
            up_for,
            str(room["restarts"]),
            f"{megabytes[name]:.0f}" if name in megabytes else "",
            _colored(health, problem(room)),
        )
    return table


def addresses(console: Console, facts: Mapping[str, Any]) -> None:
    """Where to go, and how to log in first."""
    admin = facts["super_admin"]
    for what, where in (
        ("API", facts["gateway_url"]),
        ("Documentation", f"{facts['gateway_url']}/docs"),
        ("Mail", facts["mail_url"]),
        ("First login", f"{admin['email']}  {admin['password']}"),
    ):
        console.print(f"{what:<15}{where}", soft_wrap=True, highlight=False)


def _colored(health: str, remark: str) -> Text:
    return Text(health + remark, style=_COLORS.get(health, ""))
