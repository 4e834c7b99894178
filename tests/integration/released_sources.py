"""The sources of a release, out of the clone that the tests run in."""

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from deploy.local.state import SOURCES
from deploy.releases.releases import Release


def require_in_clone(release: Release) -> None:
    """Skip the test where the clone does not reach back to the release's commit, or there is none."""
    commit = f"{release.commit}^{{commit}}"
    if _git("cat-file", "-e", commit).returncode != 0:
        pytest.skip(
            f"The commit of release {release.version} ({release.commit[:10]}) is not in this clone: git fetch --unshallow"
        )


def unpack(release: Release, folder: Path) -> None:
    """Write them into a folder."""
    archive = _git("archive", "--format=tar", release.commit)
    archive.check_returncode()
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as sources:
        sources.extractall(folder, filter="data")


def changed_since(release: Release, pattern: str) -> list[str]:
    """The files of the release that are others now, or gone."""
    answer = _git("diff", "--name-only", "--diff-filter=a", release.commit, "--", f":(glob){pattern}")
    answer.check_returncode()
    return answer.stdout.decode().splitlines()


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(("git", *arguments), cwd=SOURCES, capture_output=True, check=False)
