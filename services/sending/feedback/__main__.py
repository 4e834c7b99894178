"""`python -m services.sending.feedback serve|reprocess|roll-back|…`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import typer
import uvloop

from chassis.command import service_command
from chassis.database import Database, RoleDatabase
from chassis.settings import load
from services.sending.feedback.intake import Intake
from services.sending.feedback.origins import Origins
from services.sending.feedback.reports import KeptReports, Report
from services.sending.feedback.reprocessing import Reprocessing
from services.sending.feedback.roll_back import Mistake, RollBack
from services.sending.feedback.server import serve
from services.sending.feedback.settings import FeedbackSettings

Ids = Annotated[list[UUID] | None, typer.Argument(help="The reports; without any, all of the time given.")]
Since = Annotated[datetime | None, typer.Option(help="From this time (UTC) on.")]
Until = Annotated[datetime | None, typer.Option(help="Before this time (UTC).")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]

Rule = Annotated[str | None, typer.Option(help="By this rule of bounces.toml.")]
Reporter = Annotated[str | None, typer.Option(help="By this reporter: the server that a report comes of.")]
Source = Annotated[str | None, typer.Option(help="From this source: smtp, dsn, notice or provider.")]

command = service_command("feedback", FeedbackSettings, serve)


@command.command("reprocess")
def reprocess_command(
    ids: Ids = None, since: Since = None, until: Until = None, dry_run: DryRun = False
) -> None:
    """Process kept reports again, by the rules of today: after a rule was added or corrected.

    What a report said of a message and says no more is forgotten, and what it says now takes effect. Addresses are only put on
    the suppression list by it, never taken off.
    """
    uvloop.run(_reprocess(load(FeedbackSettings), ids, since, until, dry_run))


async def _reprocess(
    settings: FeedbackSettings,
    ids: list[UUID] | None,
    since: datetime | None,
    until: datetime | None,
    dry_run: bool,
) -> None:
    async with _opened(settings) as (kept, reprocessing):
        beginning = (since or datetime.min).replace(tzinfo=UTC)
        reports = (
            _each(kept, ids) if ids else kept.received(beginning, (until or datetime.max).replace(tzinfo=UTC))
        )
        changes = await (reprocessing.preview(reports) if dry_run else reprocessing.apply(reports))
    for change, messages in sorted(changes.items()):
        if change.before != change.now:
            print(
                f"{messages} messages: {change.before} {'would become' if dry_run else 'became'} {change.now}"
            )
    unchanged = sum(messages for change, messages in changes.items() if change.before == change.now)
    print(f"{unchanged} messages: unchanged")


async def _each(kept: KeptReports, ids: list[UUID]) -> AsyncIterator[Report]:
    for report in await kept.of(ids):
        yield report


@command.command("roll-back")
def roll_back_command(
    *,
    rule: Rule = None,
    source: Source = None,
    reporter: Reporter = None,
    since: Since = None,
    until: Until = None,
    dry_run: DryRun = False,
) -> None:
    """Take off the list exactly the hard bounces that one rule, one source, one reporter or one time caused.

    Opt-outs and complaints are never touched, and neither is an address that another bounce proves bad as well.
    """
    mistake = Mistake(
        rule,
        source,
        reporter,
        since and since.replace(tzinfo=UTC),
        until and until.replace(tzinfo=UTC),
    )
    if mistake == Mistake():
        raise typer.BadParameter("Name a rule, a source, a reporter or a time: not all bounces are wrong.")
    uvloop.run(_roll_back(load(FeedbackSettings), mistake, dry_run))


async def _roll_back(settings: FeedbackSettings, mistake: Mistake, dry_run: bool) -> None:
    async with (
        Database(settings.database_url, schema="sending") as database,
        RoleDatabase(settings.database_scheduler_url) as scheduler,
    ):
        roll_back = RollBack(database, scheduler)
        counts = await (roll_back.preview(mistake) if dry_run else roll_back.apply(mistake))
    for organization, entries in counts.items():
        print(f"organization {organization}: {entries}")
    print(f"{sum(counts.values())} entries {'would be' if dry_run else 'were'} taken off")


@asynccontextmanager
async def _opened(settings: FeedbackSettings) -> AsyncIterator[tuple[KeptReports, Reprocessing]]:
    origins = Origins(settings.link_keys)
    async with (
        Database(settings.database_url, schema="sending") as database,
        RoleDatabase(settings.database_scheduler_url) as scheduler,
    ):
        yield KeptReports(scheduler), Reprocessing(database, Intake(database, origins))


if __name__ == "__main__":
    command()
