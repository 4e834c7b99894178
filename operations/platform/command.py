"""What is asked of a running platform through its API: log-ins, organizations, their plans, lists and messages, dead letters."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from secrets import token_urlsafe
from typing import Annotated
from uuid import UUID

import httpx
import typer

from operations.exit_codes import ExitCode
from operations.output import AsJson, end, say, show
from operations.platform.api import Api, Json, NoAnswer, Refused, answered, content_of
from operations.platform.export_file import write_export
from operations.platform.session import NotLoggedIn, Session
from operations.progress import Progress
from operations.whole_file import whole_file

Url = Annotated[str, typer.Option(envvar="FLOWNURTURE_URL", help="Where the gateway is, as https://host.")]
Email = Annotated[str, typer.Argument(help="A super admin's address.")]
Password = Annotated[
    str,
    typer.Option(
        envvar="FLOWNURTURE_PASSWORD", prompt=True, hide_input=True, show_default=False,
        help="Their password; asked for where it is not given.",
    ),
]  # fmt: skip
Code = Annotated[str, typer.Option(help="Of the second factor, where there is one.")]
Organization = Annotated[UUID, typer.Argument(metavar="ORGANIZATION", help="Its id: see `org list`.")]
Name = Annotated[str, typer.Argument(help="What it is called.")]
Owner = Annotated[str, typer.Option("--owner", help="The address of who administers it.")]
OwnerName = Annotated[str, typer.Option("--owner-name", help="Their name.")]
Whose = Annotated[
    UUID, typer.Option("--org", metavar="ORGANIZATION", help="Whose, by its id: see `org list`.")
]
Address = Annotated[str, typer.Argument(metavar="EMAIL", help="The address.")]
Message = Annotated[UUID, typer.Argument(metavar="ID", help="Its id.")]
ExportFile = Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="Where it is written.")]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing: for scripts.")]
Process = Annotated[str, typer.Option(help="Of this process alone.")]
Parker = Annotated[str, typer.Argument(metavar="PROCESS", help="The process that parked them.")]
Ids = Annotated[
    list[UUID] | None, typer.Argument(metavar="[ID]...", help="Which; all that it has, without any.")
]

organizations = typer.Typer(help="Organizations.", no_args_is_help=True)
plans = typer.Typer(help="Plans of organizations.", no_args_is_help=True)
suppressions = typer.Typer(help="Addresses that get no mail from an organization.", no_args_is_help=True)
messages = typer.Typer(help="Messages of an organization.", no_args_is_help=True)
letters = typer.Typer(help="Events that a process could not handle, and parked.", no_args_is_help=True)


class Plan(StrEnum):
    """What an organization may use."""

    FREE = "free"
    STARTER = "starter"
    PRO = "pro"
    ENTERPRISE = "enterprise"


def add_platform_commands(app: typer.Typer) -> None:
    """Give the command line these commands."""
    app.command("login")(login)
    app.command("logout")(logout)
    app.add_typer(organizations, name="org")
    app.add_typer(plans, name="plan")
    app.add_typer(suppressions, name="suppression")
    app.add_typer(messages, name="message")
    app.add_typer(letters, name="dead-letters")


def login(email: Email, *, url: Url, password: Password, code: Code = "", as_json: AsJson = False) -> None:
    """Log in as a super admin, for the commands that ask the platform.

    Kept in ~/.config/flownurture/session.json, which nobody else reads. FLOWNURTURE_TOKEN with FLOWNURTURE_URL takes its place.
    """
    with _refusals_told(), httpx.Client(base_url=url, timeout=30) as http:
        shown = {"email": email, "password": password, "code": code}
        tokens = content_of(answered(http, "POST", "/v1/auth/login", json=shown))
    Session(url, tokens["access_token"], tokens["refresh_token"]).keep()
    say({"email": tokens["user"]["email"], "url": url}, f"logged in at {url}", as_json=as_json)


def logout(as_json: AsJson = False) -> None:
    """End the log-in, and forget it."""
    with _explained() as api:
        api.post("/v1/auth/logout")
    Session.forget()
    say({"logged_out": True}, "logged out", as_json=as_json)


@organizations.command("list")
def list_organizations(as_json: AsJson = False) -> None:
    """List all."""
    with _explained() as api:
        found = [each for page in api.pages("/v1/admin/organizations") for each in page["organizations"]]
    show(found, ("id", "name", "plan", "suspended", "created_at"), as_json=as_json)


@organizations.command("show")
def show_organization(organization: Organization, as_json: AsJson = False) -> None:
    """Show one; of one that is erased, or is to be, also how far that is in each service."""
    with _explained() as api:
        shown = api.get(f"/v1/admin/organizations/{organization}")
        erasure = api.get(_erasure_of(organization))
    if erasure["erases_at"] or erasure["erased_at"]:
        shown["erasure"] = erasure
    _say_organization(shown, as_json=as_json)


@organizations.command("create")
def create_organization(name: Name, *, owner: Owner, owner_name: OwnerName, as_json: AsJson = False) -> None:
    """Create one for somebody, as signing up does. They get a mail by which they choose their password.

    Takes an address that has no account yet.
    """
    with _explained() as api:
        signed_up = api.post(
            "/v1/auth/signup",
            # Nobody ever knows it.
            {"email": owner, "password": token_urlsafe(), "name": owner_name, "organization_name": name},
        )
        Api(Session(api.url, signed_up["access_token"])).post("/v1/auth/logout")
        api.post("/v1/auth/password/forgot", {"email": owner})
    _say_organization(signed_up["organization"], as_json=as_json)


@organizations.command("suspend")
def suspend_organization(organization: Organization, as_json: AsJson = False) -> None:
    """Let nobody of it in, by log-in or key, from now on. What it has stays."""
    with _explained() as api:
        changed = api.patch(f"/v1/admin/organizations/{organization}", {"suspended": True})
    _say_organization(changed, as_json=as_json)


@organizations.command("resume")
def resume_organization(organization: Organization, as_json: AsJson = False) -> None:
    """Let them in again."""
    with _explained() as api:
        changed = api.patch(f"/v1/admin/organizations/{organization}", {"suspended": False})
    _say_organization(changed, as_json=as_json)


@organizations.command("export")
def export_organization(organization: Organization, file: ExportFile, as_json: AsJson = False) -> None:
    """Write all that the platform holds of one into a file, for who leaves or asks what is held: see docs/erasure.md.

    A ZIP of JSON lines by service and table, with a manifest.json of how many rows there are, and of what is left out: secrets, and what the
    platform works with. Takes what is there while it runs, of one that is suspended or to be erased, too. The organization's audit trail
    tells of it.
    """
    with (
        _explained() as api,
        _file_told(),
        whole_file(file) as target,
        closing(api.download(f"/v1/admin/organizations/{organization}/export")) as pieces,
    ):
        exported = write_export(str(organization), pieces, target, Progress("exported"))
    said = f"{exported.row_count:,} rows of {len(exported.files)} tables in {file}"
    say(exported.facts() | {"file": str(file)}, said, as_json=as_json)


@organizations.command("erase")
def erase_organization(organization: Organization, yes: Yes = False, as_json: AsJson = False) -> None:
    """Erase one for good, in seven days: see docs/erasure.md.

    It is suspended at once, and its campaigns and workflows are paused. Until the time has come `org keep` takes it back; then
    nothing does. Asks for its name, unless --yes is given. `org show` says how far it is.
    """
    with _explained() as api:
        name = api.get(f"/v1/admin/organizations/{organization}")["name"]
        if not yes and typer.prompt(f"To erase {name!r}, type its name", err=True) != name:
            end(ExitCode.REFUSED, "That is not its name: nothing was done.")
        erasure = api.post(_erasure_of(organization), {"name": name})
    say(erasure, f"{organization} is suspended, and erased at {erasure['erases_at']}", as_json=as_json)


@organizations.command("keep")
def keep_organization(organization: Organization, as_json: AsJson = False) -> None:
    """Take back that it is to be erased. It stays suspended: see `org resume`."""
    with _explained() as api:
        erasure = api.delete(_erasure_of(organization))
    say(erasure, f"{organization} is not erased, and still suspended", as_json=as_json)


@plans.command("set")
def set_plan(organization: Organization, plan: Plan, as_json: AsJson = False) -> None:
    """Give an organization another plan, at once."""
    with _explained() as api:
        changed = api.patch(f"/v1/admin/organizations/{organization}", {"plan": plan.value})
    _say_organization(changed, as_json=as_json)


@suppressions.command("check")
def check_suppression(email: Address, *, organization: Whose, as_json: AsJson = False) -> None:
    """Say whether an address is on an organization's list: why, since when, by whom. Ends with 0 either way.

    The organization's audit trail tells that you looked.
    """
    with _explained() as api:
        found = api.get(f"/v1/admin/organizations/{organization}/suppressions/check", email=email)
    if as_json or not found["suppressed"]:
        say(found, f"{email} is not on the list", as_json=as_json)
        return
    entries = [entry | {"added_by": _actor(entry["added_by"])} for entry in found["suppressions"]]
    columns = ("reason", "created_at", "added_by", "rule", "source", "note", "message_id")
    show(entries, columns, as_json=False)


@messages.command("trace")
def trace_message(message: Message, *, organization: Whose, as_json: AsJson = False) -> None:
    """Show a message's way through all stages until now: nothing of what it says, and not to whom.

    The organization's audit trail tells that you looked.
    """
    with _explained() as api:
        found = api.get(f"/v1/admin/organizations/{organization}/messages/{message}/trace")
    again = f", again at {found['next_attempt_at']}" if found["next_attempt_at"] else ""
    say(found, f"{found['status']} after {found['attempts']} attempts{again}", as_json=as_json)
    if not as_json:
        # Of some stages no row keeps the time.
        entries = [entry | {"at": entry["at"] or ""} for entry in found["entries"]]
        show(entries, ("at", "stage", "detail"), as_json=False)


@letters.command("list")
def list_letters(process: Process = "", as_json: AsJson = False) -> None:
    """List them, oldest first. Ends with 4 when a process does not answer, since its own are not among them."""
    with _explained() as api:
        found = list(api.pages("/v1/admin/dead-letters", process=process))
    parked = [letter for page in found for letter in page["dead_letters"]]
    show(parked, ("id", "process", "type", "deliveries", "parked_at", "error"), as_json=as_json)
    if unreachable := sorted({name for page in found for name in page["unreachable"]}):
        end(ExitCode.UNAVAILABLE, f"not answering: {', '.join(unreachable)}")


@letters.command("replay")
def replay_letters(process: Parker, ids: Ids = None, as_json: AsJson = False) -> None:
    """Have a process handle them again. Which of them fail once more are parked again."""
    with _explained() as api:
        answer = api.post(
            "/v1/admin/dead-letters/replay",
            {"process": process, "dead_letter_ids": [str(each) for each in ids or ()]},
        )
    say(answer, f"{answer['requested']} will be handled again", as_json=as_json)


def _say_organization(organization: Json, *, as_json: bool) -> None:
    state = "suspended" if organization["suspended"] else organization["plan"]
    lines = [f"{organization['id']}  {organization['name']}  {state}", *_erasure_lines(organization)]
    say(organization, "\n".join(lines), as_json=as_json)


def _erasure_of(organization: UUID) -> str:
    return f"/v1/admin/organizations/{organization}/erasure"


def _erasure_lines(organization: Json) -> Iterator[str]:
    if not (erasure := organization.get("erasure")):
        return
    if erasure["erases_at"]:
        yield f"erased at {erasure['erases_at']}, unless that is taken back: `org keep`"
    if erasure["erased_at"]:
        yield f"erased since {erasure['erased_at']}"
    for service in erasure["services"]:
        unfinished = "at it" if service["reachable"] else "does not answer"
        yield f"  {service['service']:14}{service['erased_at'] or unfinished}"


def _actor(added_by: Json | None) -> str:
    return f"{added_by['kind']} {added_by['id']}" if added_by else ""


@contextmanager
def _explained() -> Iterator[Api]:
    """The platform, as whoever is logged in; ends the command where it says no, or nothing."""
    with _refusals_told():
        yield Api(Session.current())


@contextmanager
def _file_told() -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        end(ExitCode.REFUSED, error)
    except OSError as error:
        end(ExitCode.UNAVAILABLE, error)


@contextmanager
def _refusals_told() -> Iterator[None]:
    try:
        yield
    except (Refused, NotLoggedIn) as error:
        end(ExitCode.REFUSED, error)
    except NoAnswer as error:
        end(ExitCode.UNAVAILABLE, error)
