"""What the demo found: a table for people, and var/demo/report.json for programs."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.demo.checks import Ledger
from deploy.demo.house import House
from deploy.demo.scene import Organization


def show(console: Console, ledger: Ledger) -> None:
    """Print what was promised, what was expected, and what was found."""
    table = Table(title="What was promised, and what was found", title_justify="left", expand=False)
    table.add_column("Promised", max_width=52)
    table.add_column("Expected", max_width=36)
    table.add_column("Found", max_width=60)
    table.add_column("")
    step = ""
    for check in ledger.checks:
        if check.step != step:
            step = check.step
            table.add_section()
            table.add_row(
                Text(step, style="bold"), "", Text(f"{ledger.seconds.get(step, 0):.1f} s", style="dim"), ""
            )
        mark = Text("✓", style="bold green") if check.passed else Text("✗", style="bold red")
        found = Text(check.actual, style="" if check.passed else "red")
        table.add_row(Text(f"  {check.promise}"), Text(check.expected), found, mark)
    console.print(table)


def say_where_to_look(console: Console, house: House, organizations: list[Organization]) -> None:
    """Print the addresses of the house, which goes on running, and how to log in."""
    console.print("The house goes on running. Look around:")
    console.print(f"  API documentation  {house.gateway_url}/docs", soft_wrap=True)
    console.print(f"  Inbox              {house.mail_url}/", soft_wrap=True)
    for organization in organizations:
        login = f"{organization.owner_email}  {organization.password}"
        console.print(Text(f"  Login              {login}  ({organization.name})"), soft_wrap=True)
    operator = f"{house.super_admin_email}  (operator; password in {house.run_file})"
    console.print(Text(f"  Login              {operator}"), soft_wrap=True)


def write(path: Path, ledger: Ledger, *, seconds: float, house: House) -> None:
    """Write every check with what was expected and found, and the figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "passed": ledger.passed,
        "seconds": round(seconds, 2),
        "checks": [{**asdict(check), "passed": check.passed} for check in ledger.checks],
        "step_seconds": ledger.seconds,
        "figures": ledger.figures,
        "gateway_url": house.gateway_url,
        "mail_url": house.mail_url,
    }
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
