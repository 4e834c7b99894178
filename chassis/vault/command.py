"""The operator's commands about keys: `rewrap-keys`, `rotate-data-keys`, `destroy-data-keys`.

    python -m services.webhooks rewrap-keys        # after another key-encryption key was named; values in envelopes too
    python -m services.webhooks rotate-data-keys   # from time to time, and when a process' memory may have been seen

The first two run beside the processes, tell how far they are, and go on with the rest when they are started once more.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Annotated, Any
from uuid import UUID

import typer
import uvloop

from chassis.context import RequestContext
from chassis.database import Database, RoleDatabase
from chassis.errors import Unavailable
from chassis.settings import DatabaseSettings, load
from chassis.vault.envelope_columns import EnvelopeColumn
from chassis.vault.envelopes import Envelopes
from chassis.vault.resealing import Resealing
from chassis.vault.rewrapping import Rewrapped, Rewrapping
from chassis.vault.rotation import Rotated, Rotation
from chassis.vault.sealed_columns import SealedColumn
from chassis.vault.settings import FormerlySealedSettings, former_sealer, wrapping_of
from chassis.vault.vault import Vault

# So that a run that was cut off is taken up by the next one, and not begun again.
_LEFT_ALONE = timedelta(days=1)
_TOLD_EVERY_SECONDS = 1


class KeySettings(DatabaseSettings, FormerlySealedSettings):
    """What the commands need."""


MadeBefore = Annotated[
    datetime | None,
    typer.Option(help="Keys made before this time (UTC) are replaced; by default, those of a day ago."),
]
Organization = Annotated[UUID, typer.Argument(help="Whose keys are destroyed.")]
Sure = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def add_key_commands(
    app: typer.Typer,
    schema: str,
    columns: Sequence[SealedColumn],
    envelope_columns: Sequence[EnvelopeColumn] = (),
) -> None:
    """Give a process' command line the commands about the keys of its schema, and of these columns of it."""

    @app.command("rewrap-keys")
    def rewrap_keys() -> None:
        """Wrap all data keys again by the key-encryption key that wraps now; then others can be given up."""
        _run(schema, lambda keys: _rewrap(keys, envelope_columns))

    @app.command("rotate-data-keys")
    def rotate_data_keys(made_before: MadeBefore = None) -> None:
        """Give organizations new data keys, and seal again by them what is stored; takes six minutes at least."""
        moment = made_before.replace(tzinfo=UTC) if made_before else datetime.now(UTC) - _LEFT_ALONE
        _run(schema, lambda keys: _rotate(keys, columns, moment))

    @app.command("destroy-data-keys")
    def destroy_data_keys(organization: Organization, yes: Sure = False) -> None:
        """Destroy an organization's data keys: what they sealed opens never again."""
        if not yes:
            typer.confirm(
                f"All that {organization} keeps sealed in {schema} will be lost. Go on?", abort=True
            )
        _run(schema, lambda keys: _destroy(keys, organization))


@dataclass(frozen=True, slots=True)
class _Keys:
    database: Database
    scheduler: RoleDatabase
    vault: Vault
    envelopes_of: Callable[[EnvelopeColumn], Envelopes]


@asynccontextmanager
async def _opened(schema: str, settings: KeySettings) -> AsyncIterator[_Keys]:
    async with (
        Database(settings.database_url, schema=schema) as database,
        RoleDatabase(settings.database_scheduler_url) as scheduler,
    ):
        wrapping, former = wrapping_of(settings), former_sealer(schema, settings)
        # It remembers nothing, since it makes the keys that others are to hear of.
        vault = Vault(schema, wrapping, former=former, known_organizations=0)
        yield _Keys(database, scheduler, vault, lambda column: column.envelopes(schema, wrapping, former))


def _run(schema: str, order: Callable[[_Keys], Coroutine[Any, Any, bool]]) -> None:
    settings = load(KeySettings)

    async def run() -> bool:
        async with _opened(schema, settings) as keys:
            return await order(keys)

    try:
        is_whole = uvloop.run(run())
    except Unavailable as error:
        print(f"{error.message} What was done is done: start it once more for the rest.", file=sys.stderr)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if is_whole else 1)


async def _rewrap(keys: _Keys, envelope_columns: Sequence[EnvelopeColumn]) -> bool:
    progress = _Progress()

    def telling(done: str) -> Callable[[Rewrapped], None]:
        return lambda so_far: progress.tell(f"{so_far.done} of {so_far.of} {done}")

    def told(so_far: Rewrapped, done: str) -> bool:
        print(f"{so_far.done} of {so_far.of} {done}, {so_far.did_not_open} did not open")
        return not so_far.did_not_open

    done = "keys wrapped again"
    rewrapping = Rewrapping(keys.database, keys.scheduler, keys.vault, tell=telling(done))
    is_whole = told(await rewrapping.run(), done)
    for column in envelope_columns:
        done = f"values of {column.table.name}.{column.column} sealed again"
        resealing = Resealing(keys.scheduler, keys.envelopes_of(column), column, tell=telling(done))
        is_whole &= told(await resealing.run(), done)
    return is_whole


async def _rotate(keys: _Keys, columns: Sequence[SealedColumn], made_before: datetime) -> bool:
    progress = _Progress()

    def tell(so_far: Rotated) -> None:
        progress.tell(
            f"{so_far.finished} of {so_far.organizations} organizations, {so_far.values} values sealed again"
        )

    rotation = Rotation(keys.database, keys.scheduler, keys.vault, columns, tell=tell, pause=asyncio.sleep)
    rotated = await rotation.run(made_before)
    print(
        f"{rotated.finished} of {rotated.organizations} organizations, {rotated.keys} keys made, "
        f"{rotated.values} values sealed again, {rotated.did_not_open} did not open"
    )
    return not rotated.did_not_open


async def _destroy(keys: _Keys, organization: UUID) -> bool:
    context = RequestContext.of_process("destroy-data-keys", organization)
    async with keys.database.tenant_transaction(context) as session:
        destroyed = await keys.vault.destroy(session)
    print(f"{destroyed} keys destroyed; processes that run forget them within a minute")
    return True


class _Progress:
    """A line on stderr, once a second at most."""

    def __init__(self) -> None:
        self._told_at = monotonic()

    def tell(self, line: str) -> None:
        if monotonic() - self._told_at >= _TOLD_EVERY_SECONDS:
            self._told_at = monotonic()
            print(line, file=sys.stderr)
