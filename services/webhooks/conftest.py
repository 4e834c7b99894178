"""What tests of this service take turns for."""

from collections.abc import Iterator
from fcntl import LOCK_EX, flock
from pathlib import Path
from tempfile import gettempdir

import pytest


@pytest.fixture
def alone_with_shards() -> Iterator[None]:
    """Shards are everybody's: two tests at once, on two workers, would be dispatchers beside each other."""
    with (Path(gettempdir()) / "flownurture-shards.lock").open("w") as turn:
        flock(turn, LOCK_EX)
        yield
