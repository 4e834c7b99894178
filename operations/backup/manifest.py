"""What a backup says of itself: when and of what it was taken, and what must be there once it is restored."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

FORMAT = 1


class BackupUnusable(Exception):
    """The backup cannot be restored; the message says why. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The first thing in a backup. Revisions are by schema, rows by `schema.table`, all of one moment."""

    taken_at: datetime
    postgresql: str
    revisions: Mapping[str, str]
    rows: Mapping[str, int]

    @property
    def row_count(self) -> int:
        """The rows of all tables."""
        return sum(self.rows.values())

    def encoded(self) -> bytes:
        """As it is stored: JSON, for whoever opens a backup without this program."""
        said = asdict(self) | {"format": FORMAT, "taken_at": self.taken_at.isoformat()}
        return json.dumps(said, indent=2).encode()

    @classmethod
    def decoded(cls, stored: bytes) -> Self:
        """Raises BackupUnusable."""
        try:
            said: dict[str, Any] = json.loads(stored)
            if said["format"] != FORMAT:
                raise BackupUnusable(f"It is of format {said['format']}, and this program reads {FORMAT}.")
            return cls(
                datetime.fromisoformat(said["taken_at"]), said["postgresql"], said["revisions"], said["rows"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BackupUnusable(f"Its manifest cannot be read: {error!r}.") from None
