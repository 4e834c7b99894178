"""`python -m bench.sending [PART]`: how fast mail goes out, beside what limits it and what else people send with.

Each part has servers of its own and can be run alone; without one all are, one after another. Progress is told on stderr, and
the last line is JSON.
"""

import json
import os
import platform
from collections.abc import Callable
from typing import Annotated, Any

import typer

from bench.sending import campaign, contenders, feedback, listmonk, memory, one_off, opt_out, rivals, veto
from bench.sending.turns import say

Recipients = Annotated[int, typer.Option(min=1_000, help="Recipients of each campaign.")]
Rounds = Annotated[int, typer.Option(min=1, help="Rounds, in which what is compared takes turns.")]
Delivery = Annotated[int, typer.Option(min=1, max=4, help="Delivery processes.")]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def everything(context: typer.Context) -> None:
    """Measure all parts; exits with 1 when a stated figure is not met, with 2 without Debian's packages postfix and opendkim."""
    if context.invoked_subcommand is not None:
        return
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "smtp": lambda: contenders.compare(24_000, 5),
        "campaign": lambda: campaign.unsigned(100_000, 5),
        "signed": lambda: campaign.signed(20_000, 5),
        "mail_server": lambda: rivals.against_mail_server(20_000, 5, 2),
        "accepted": lambda: one_off.accepted(5),
        "on_its_way": lambda: one_off.on_its_way(100_000),
        "opt_out": lambda: opt_out.acknowledged(100_000),
        "memory": lambda: memory.growth(large=False),
        "veto": lambda: veto.lists(10_000, 10_000_000, 200_000, 5),
        "feedback": lambda: feedback.taken_in(3_000, 5),
    }
    if listmonk.is_given():
        parts["listmonk"] = lambda: rivals.against_listmonk(100_000, 5, 2)
    figures: dict[str, Any] = {}
    for name, measured in parts.items():
        say(f"== {name}")
        try:
            figures[name] = measured()
        except SystemExit as failure:
            # What the others found is told all the same.
            figures[name] = {"failure": str(failure), "meets": False}
        say(json.dumps(figures[name]))
    _tell(figures | {"meets": all(part["meets"] for part in figures.values())})


@app.command("smtp")
def smtp(
    messages: Annotated[int, typer.Option(help="Messages a turn.")] = 24_000, rounds: Rounds = 5
) -> None:
    """The engine's connections with smtp-source and aiosmtplib."""
    _tell(contenders.compare(messages, rounds))


@app.command("campaign")
def unsigned(recipients: Recipients = 100_000, rounds: Rounds = 5) -> None:
    """A campaign from launch to last handover, with the engine's connections alone."""
    _tell(campaign.unsigned(recipients, rounds))


@app.command("signed")
def signed(recipients: Recipients = 20_000, rounds: Rounds = 5) -> None:
    """A campaign signed with RSA-2048, with what the same cores can only sign."""
    _tell(campaign.signed(recipients, rounds))


@app.command("mail-server")
def mail_server(recipients: Recipients = 20_000, rounds: Rounds = 5, delivery: Delivery = 2) -> None:
    """A signed campaign with Postfix and OpenDKIM."""
    _tell(rivals.against_mail_server(recipients, rounds, delivery))


@app.command("listmonk")
def beside_listmonk(recipients: Recipients = 100_000, rounds: Rounds = 5, delivery: Delivery = 2) -> None:
    """A campaign with that of a listmonk that already runs (LISTMONK_URL and its kin: bench/README.md)."""
    if not listmonk.is_given():
        raise typer.BadParameter("LISTMONK_URL and its kin are not set: see bench/README.md")
    _tell(rivals.against_listmonk(recipients, rounds, delivery))


@app.command("accepted")
def accepted(rounds: Rounds = 5) -> None:
    """One-off messages that the API durably accepts a second."""
    _tell(one_off.accepted(rounds))


@app.command("on-its-way")
def on_its_way(recipients: Recipients = 100_000) -> None:
    """How long a one-off message takes, idle and while a campaign goes out."""
    _tell(one_off.on_its_way(recipients))


@app.command("opt-out")
def acknowledged(recipients: Recipients = 100_000) -> None:
    """How long somebody who opts out waits for the answer, while a campaign goes out and after it."""
    _tell(opt_out.acknowledged(recipients))


@app.command("memory")
def grown(
    large: Annotated[bool, typer.Option(help="Up to a million recipients, which takes minutes.")] = False,
) -> None:
    """A delivery process' memory, and the time of a message, as campaigns grow."""
    _tell(memory.growth(large=large))


@app.command("veto")
def decided(
    small: Annotated[int, typer.Option(min=1_000, help="Addresses on the short list.")] = 10_000,
    large: Annotated[int, typer.Option(min=1_001, help="Addresses on the long list.")] = 10_000_000,
    messages: Annotated[int, typer.Option(min=100_000, help="Messages a turn.")] = 200_000,
    rounds: Rounds = 5,
) -> None:
    """How many addresses a suppression process decides on, by a short list and by a long one."""
    _tell(veto.lists(small, large, messages, rounds))


@app.command("feedback")
def fed_back(
    reports: Annotated[int, typer.Option(min=1_000, help="Reports a turn.")] = 3_000, rounds: Rounds = 5
) -> None:
    """How many reports a feedback process takes in, beside a listener that does nothing with them."""
    _tell(feedback.taken_in(reports, rounds))


def _tell(figures: dict[str, Any]) -> None:
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps(figures | {"machine": machine}))
    raise typer.Exit(0 if figures["meets"] else 1)


if __name__ == "__main__":
    app()
