"""The logs of the house: each is one file that never grows without bound."""

import asyncio
import os
import shutil
from collections import deque
from pathlib import Path

_LARGEST = 16 * 1024 * 1024  # bytes
_LOOK_EVERY = 30.0  # seconds
_SHOWN = 15  # lines


async def bound(folder: Path) -> None:
    """Until cancelled, set aside the content of logs that have grown large; their writers append on."""
    while True:
        await asyncio.to_thread(_set_aside_large, folder)
        await asyncio.sleep(_LOOK_EVERY)


def last_lines(log: Path, count: int = _SHOWN) -> str:
    """The end of a log, indented; says so when there is nothing."""
    if not log.exists():
        return "    (there is no log)"
    with log.open(encoding="utf-8", errors="replace") as lines:
        last = deque(lines, maxlen=count)
    return "".join(f"    {line}" for line in last).rstrip() or "    (the log is empty)"


def _set_aside_large(folder: Path) -> None:
    for log in folder.glob("*.log"):
        if log.stat().st_size > _LARGEST:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)
