"""As whom PostgreSQL runs: it refuses to be root, so root hands it to an unprivileged user.

That user may not be able to enter the folder of the clone. Then programs and data live in a place of their own, one
for each clone, which `var/` remembers.
"""

import os
import pwd
import shutil
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

_USERS = ("postgres", "nobody")
_OUTSIDE = (Path("/var/lib/flownurture"), Path("/var/tmp/flownurture"))  # noqa: S108 - a folder for each clone
_POINTER = "outside"


class NobodyToRunAs(Exception):
    """This is root, and the system has no unprivileged user."""


@dataclass(frozen=True, slots=True)
class User:
    """An unprivileged user of the system."""

    name: str
    uid: int
    gid: int

    def popen_arguments(self) -> dict[str, Any]:
        """For `subprocess.Popen`: as this user, with none of root's groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_reach(self, path: Path) -> bool:
        """Whether the user may enter every folder on the way to `path`, and `path` itself if it is one."""
        existing = next(place for place in (path, *path.parents) if place.exists()).resolve()
        return all(self._may_enter(place) for place in (existing, *existing.parents) if place.is_dir())

    def _may_enter(self, folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        return bool(status.st_mode & (0o010 if status.st_gid == self.gid else 0o001))


def unprivileged_user() -> User | None:
    """The user to hand over to; None when this is not root. Raises NobodyToRunAs."""
    if os.geteuid() != 0:
        return None
    for name in _USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(name, entry.pw_uid, entry.pw_gid)
    raise NobodyToRunAs(f"PostgreSQL does not run as root, and there is no user {' or '.join(_USERS)}.")


def outside(root: Path) -> Path:
    """The folder outside of the clone that belongs to the state folder `root`; made and remembered there."""
    pointer = root / _POINTER
    if pointer.exists():
        return Path(pointer.read_text().strip())
    root.mkdir(parents=True, exist_ok=True)
    name = sha256(str(root.resolve()).encode()).hexdigest()[:16]
    for parent in _OUTSIDE:
        try:
            _make_ours(parent)
            _make_ours(parent / name)
        except OSError:
            continue
        pointer.write_text(f"{parent / name}\n")
        return parent / name
    raise NobodyToRunAs(f"None of {', '.join(map(str, _OUTSIDE))} can be used.")


def _make_ours(folder: Path) -> None:
    """Make a folder that all may enter. In a place where all may write, somebody else may have been there first."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise PermissionError(f"{folder} is somebody else's.")
    folder.chmod(0o755)


def remove_outside(root: Path) -> None:
    """Remove what `outside` made for a state folder."""
    pointer = root / _POINTER
    if pointer.exists():
        shutil.rmtree(pointer.read_text().strip(), ignore_errors=True)
        pointer.unlink()
