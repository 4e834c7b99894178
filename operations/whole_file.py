"""A file that is there as a whole or not at all, and that nobody else reads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that has its name once it is written, and is on the disk then. Raises FileExistsError."""
    if path.exists():
        raise FileExistsError(f"{path} is there already.")
    unfinished = path.with_name(f"{path.name}.unfinished")
    # What was left by who was killed may have been for others to read.
    unfinished.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)
