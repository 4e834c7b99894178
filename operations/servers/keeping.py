"""What is done from time to time so that secrets stay secret and the trail stays true: `keys`, `audit`."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from chassis.secret import Secret
from operations.output import AsJson, say
from operations.servers.service_commands import Said, run

# Those that keep secrets.
SEALING = ("identity", "integrations", "sending", "webhooks")

DatabaseUrl = Annotated[
    str,
    typer.Option(
        envvar="DATABASE_ADMIN_URL",
        help="postgresql://… of the server; roles have `PASSWORD_<ROLE>`.",
        show_default=False,
    ),
]
Schemas = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SCHEMA]...", help=f"Of {', '.join(SEALING)}; all without any."),
]
Against = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Anchors that were printed earlier and kept elsewhere."),
]

keys = typer.Typer(
    help="The keys that seal what is stored (chassis/vault/README.md). Those that sign tokens and links are lists in the environment of "
    "processes, where the first one signs: docs/tokens.md says in which order they are replaced. "
    "Where services are not installed, as in the operator's image, these end with the command that does it in a pod of each: "
    "`kubectl exec -n flownurture deployment/sending -- python -m services.sending rewrap-keys`.",
    no_args_is_help=True,
)
audit = typer.Typer(
    help="The audit trail (docs/audit.md). Where identity is not installed, as in the operator's image, they end with the command that does "
    "it in a pod of it: `kubectl exec -n flownurture deployment/identity -- python -m services.identity audit verify`.",
    no_args_is_help=True,
)


def add_keeping_commands(app: typer.Typer) -> None:
    """Give the command line these commands."""
    app.add_typer(keys, name="keys")
    app.add_typer(audit, name="audit")


@keys.command("rewrap")
def rewrap(schemas: Schemas = None, *, database_url: DatabaseUrl, as_json: AsJson = False) -> None:
    """Wrap all data keys again by the key-encryption keys that come first now; then those before can be given up.

    Takes the key-encryption keys of each schema, with its name before them (SENDING_KEY_ENCRYPTION_KEYS, …). Ends with 1 when something
    does not open.
    """
    _run_for(schemas, database_url, "rewrap-keys", as_json=as_json)


@keys.command("rotate")
def rotate(schemas: Schemas = None, *, database_url: DatabaseUrl, as_json: AsJson = False) -> None:
    """Give organizations new data keys, and seal again by them all that is stored; takes six minutes at least.

    As `rewrap`. Keys of less than a day are left: what was cut off is taken up.
    """
    _run_for(schemas, database_url, "rotate-data-keys", as_json=as_json)


@audit.command("verify")
def verify(*, database_url: DatabaseUrl, against: Against = None, as_json: AsJson = False) -> None:
    """Verify the chains of all organizations. Ends with 1 when one is broken."""
    words = ("--against", str(against)) if against else ()
    said = run("identity", Secret(database_url), "audit", "verify", *words)
    say({"whole": said.code == 0, "says": said.text.splitlines()}, said.text, as_json=as_json)
    raise typer.Exit(said.code)


@audit.command("anchors")
def anchors(*, database_url: DatabaseUrl, as_json: AsJson = False) -> None:
    """Print the ends of all chains: kept where nobody can write who can write the database, they show what was cut off."""
    said = run("identity", Secret(database_url), "audit", "anchors")
    say({"anchors": said.text.splitlines()}, said.text, as_json=as_json)
    raise typer.Exit(said.code)


def _run_for(schemas: list[str] | None, database_url: str, command: str, *, as_json: bool) -> None:
    chosen = schemas or list(SEALING)
    if unknown := [schema for schema in chosen if schema not in SEALING]:
        raise typer.BadParameter(f"{', '.join(unknown)} keeps no secrets.")
    # They wait for minutes, side by side.
    with ThreadPoolExecutor(len(chosen)) as threads:
        said: list[Said] = list(
            threads.map(lambda schema: run(schema, Secret(database_url), command), chosen)
        )
    told = {
        schema: {"code": each.code, "says": each.text.splitlines()}
        for schema, each in zip(chosen, said, strict=True)
    }
    lines = [
        f"{schema}: {line}"
        for schema, each in zip(chosen, said, strict=True)
        for line in each.text.splitlines()
    ]
    say(told, "\n".join(lines), as_json=as_json)
    if worst := max(each.code for each in said):
        raise typer.Exit(worst)
