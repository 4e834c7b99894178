"""The repository once more, for a page to change."""

import os
import shutil
import subprocess
from pathlib import Path

_ROOT = Path(__file__).parents[2]
# What is made by `make install`, and is the same for both.
_SHARED = (".tools", ".venv")


def copy_tree(target: Path) -> None:
    """Copy what is committed, and what is about to be, into a folder that is a repository of its own."""
    named = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    files = subprocess.run(named, cwd=_ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    for file in filter(None, files):
        if (_ROOT / file).exists():
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            # With its time: what was made of it is still newer.
            shutil.copy2(_ROOT / file, target / file)
    for folder in _SHARED:
        (target / folder).symlink_to(_ROOT / folder)
    for command in ("init", "--quiet"), ("add", "--all"):
        subprocess.run(("git", *command), cwd=target, check=True)


def environment_of(target: Path) -> dict[str, str]:
    """What is another there: its own code before this one's, the servers of nobody else, no word of the make that runs this, and no place of its
    own for what types were found.
    """
    replaced = ("DATABASE_URL", "NATS_URL", "REDIS_URL", "SMTP_URL", "TEST_SERVERS")
    told = {name: value for name, value in os.environ.items() if name.startswith(("PYTEST_", "COV_", "MAKE"))}
    return dict.fromkeys([*replaced, *told], "") | {
        "MYPY_CACHE_DIR": str(_ROOT / ".mypy_cache"),
        "PYTHONPATH": "",
        "COLUMNS": "200",
    }
