"""`python -m deploy.local`: the whole platform on one machine."""

import json
import os
import shutil
import subprocess
from typing import Annotated
from urllib.parse import urljoin

import typer
from rich.console import Console

from deploy.local import consumption, ports, screen
from deploy.local.opening import HouseNotOpen, Opening, Status, close
from deploy.local.probe import is_ready
from deploy.local.servers.unprivileged import remove_outside
from deploy.local.state import StateFolder, read_json
from deploy.local.supervisor import census, presence

app = typer.Typer(
    name="python -m deploy.local",
    help="The whole platform on one machine: real servers, every process, an inbox. See deploy/local/README.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
console = Console()

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Part = Annotated[str | None, typer.Argument(help="One part of the house; without it, all.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on as the logs grow.")]
Lines = Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines of each.")]


_VARIABLES = "\n".join(
    (
        "Variables:",
        *(f"- {variable}: {what}" for variable, what in ports.documentation()),
        "- FLOWNURTURE_PORTS=free: choose free ports for all that no variable names, and keep them",
        "- FLOWNURTURE_VAR: the folder for all state; each is a house of its own (var)",
        "- DATABASE_URL, NATS_URL, REDIS_URL, SMTP_URL: use that server instead of one of our own",
        "- LOG_LEVEL, OTLP_ENDPOINT: passed on to every process",
        "- CRMS: the CRMs that can be connected, passed on to integrations",
        "- AI_BASE_URL, AI_API_KEY, AI_MODEL: the language model that is asked, passed on to integrations",
    )
)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except PermissionError as problem:
        raise SystemExit(
            f"{problem}\nThis house is somebody else's; FLOWNURTURE_VAR names another."
        ) from None


@app.command(epilog=_VARIABLES)
def up() -> None:
    """Start everything, and wait until it is ready. When it runs already, say where."""
    state = _state()
    try:
        with screen.OpeningScreen(console) as opening:
            Opening(state, watch=opening.show).run()
    except HouseNotOpen as problem:
        console.print(f"\nThe house is not up.\n{problem}", soft_wrap=True, markup=False, highlight=False)
        if presence.supervisor(state.supervisor):
            console.print("`make status` shows the rest, `make down` ends it.")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("The house goes on opening: `make status` shows how far it is, `make down` ends it.")
        raise typer.Exit(1) from None
    screen.addresses(console, read_json(state.run_file))


@app.command()
def down() -> None:
    """Stop everything, in order. What is stored stays."""
    console.print("The house is down." if close(_state()) else "The house was not up.")


@app.command()
def status() -> None:
    """Show how each part is. Exits with 1 when one is not ready."""
    state = _state()
    report: Status | None = read_json(state.status)
    if presence.supervisor(state.supervisor) is None or report is None:
        left_over = census.left_over(state.census)
        if left_over:
            console.print(
                f"The supervisor has died; {len(left_over)} programs that it started run on, unminded."
            )
            console.print("`make up` opens the house anew, `make down` ends them.")
        else:
            console.print("The house is not up. `make up` starts it.")
        raise typer.Exit(1)
    unready = _unready(report, read_json(state.run_file) or {})
    megabytes = {
        room["name"]: consumption.resident(consumption.family([room["pid"]])) / consumption.MEBIBYTE
        for room in report["rooms"]
        if room["pid"]
    }
    console.print(screen.conditions(report, megabytes, unready))
    if report["remark"]:
        console.print(report["remark"], markup=False)
    if any(unready.values()) or report["phase"] != "ready":
        raise typer.Exit(1)


@app.command()
def logs(part: Part = None, *, follow: Follow = False, lines: Lines = 50) -> None:
    """Show the logs."""
    state = _state()
    found = sorted(state.logs.glob(f"{part or '*'}.log"))
    if not found:
        names = ", ".join(log.stem for log in sorted(state.logs.glob("*.log"))) or "none yet"
        console.print(f"There is no log of that name. There are: {names}.")
        raise typer.Exit(1)
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, found)]
    raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - names come from the folder


@app.command()
def reset(*, yes: Yes = False) -> None:
    """Stop everything and delete what is stored: the next `up` begins from nothing."""
    state = _state()
    if not yes:
        typer.confirm(f"Delete all data of the house in {state.root}?", abort=True)
    close(state)
    remove_outside(state.root)
    for path in state.everything():
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    console.print("The house is down, and empty.")


@app.command("doctor")
def doctor_command() -> None:
    """Say what is missing on this machine, and how to mend it. Exits with 1 when something is."""
    from deploy.local import doctor  # noqa: PLC0415 - the other commands start quicker without it

    findings = doctor.examine(_state(), os.environ)
    for finding in findings:
        mark = "[green]ok[/green]     " if finding.good else "[red]missing[/red]"
        console.print(f"{mark}  {finding.what:<18}", finding.seen, soft_wrap=True, highlight=False)
        if not finding.good:
            console.print(f"{'':<29}{finding.remedy}", soft_wrap=True, highlight=False)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


@app.command("measure")
def measure_command() -> None:
    """Restart the house, let it idle, and print what that took: one line of JSON. Exits with 1 when too much."""
    from deploy.local.measure import measure  # noqa: PLC0415 - as above

    try:
        figures = measure(_state())
    except HouseNotOpen as problem:
        console.print(str(problem), markup=False)
        raise typer.Exit(1) from None
    print(json.dumps(figures))
    if not figures["meets"]:
        raise typer.Exit(1)


def _unready(report: Status, facts: Status) -> dict[str, bool]:
    """Which parts do not say right now that they are ready."""
    urls = {**facts.get("metrics_urls", {}), "mailbox": facts.get("mail_url")}
    return {
        room["name"]: room["health"] != "ready"
        or bool((url := urls.get(room["name"])) and not is_ready(urljoin(url, "/readyz")))
        for room in report["rooms"]
    }


def _state() -> StateFolder:
    return StateFolder.of(os.environ)


if __name__ == "__main__":
    main()
