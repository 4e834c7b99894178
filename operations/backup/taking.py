"""Taking a backup: one moment of all schemas, read while everybody works on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from chassis.secret import Secret
from deploy.database.bootstrap import DATABASE, url_in
from operations.backup.archive import Recipient, Tell, Written, write
from operations.backup.manifest import Manifest
from operations.backup.postgres import dumped, snapshot


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that was taken: what is in it, and what it became."""

    manifest: Manifest
    written: Written


def take(server: Secret, target: IO[bytes], recipients: Sequence[Recipient], tell: Tell) -> Taken:
    """Write a backup of the platform's database on this server, for these recipients.

    Raises psycopg.Error, ProgramFailed and OSError; what was written until then is no backup, and nobody can take it for one.
    """
    database = url_in(server, DATABASE)
    with snapshot(database) as moment:
        manifest = Manifest(moment.taken_at, moment.postgresql, moment.revisions, moment.rows)
        written = write(manifest, dumped(database, moment.name), target, recipients, tell)
    return Taken(manifest, written)
