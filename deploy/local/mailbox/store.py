"""The file that mail is kept in (SQLite, WAL)."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path


class Store:
    """Opens connections to the file; every thread uses its own.

    A commit reaches the operating system, not always the disk: killing this process loses nothing, pulling the plug
    of the machine may. That is what a simulator owes, and it is ten times faster.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self.connect()) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript((resources.files(__package__) / "schema.sql").read_text("utf-8"))

    def connect(self) -> sqlite3.Connection:
        """A connection to write with; its user closes it."""
        connection = sqlite3.connect(self._path, timeout=30)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction on a connection of its own."""
        with closing(self.connect()) as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own that sees what is committed, rows by name; SQL may `fold()` the case of letters."""
        with closing(self.connect()) as connection:
            connection.row_factory = sqlite3.Row
            connection.create_function("fold", 1, str.casefold, deterministic=True)
            yield connection
