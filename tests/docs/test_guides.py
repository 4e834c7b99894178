"""The guides are right: who does what they say, to the letter, gets what they say."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.tree import copy_tree, environment_of
from tests.docs.walk import Walk

GUIDES = Path(__file__).parents[2] / "docs/guides"


@pytest.fixture
def tree() -> Iterator[Path]:
    """A copy of the repository, without what a guide started in it in the end."""
    folder = Path(tempfile.mkdtemp(prefix="flownurture-guide-"))
    # PostgreSQL runs as somebody else, who has to get through.
    folder.chmod(0o755)
    try:
        copy_tree(folder)
        yield folder
        reset = (".venv/bin/python", "-m", "deploy.local", "reset", "--yes")
        subprocess.run(
            reset, cwd=folder, env=os.environ | environment_of(folder), stdout=subprocess.DEVNULL, check=False
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_who_follows_the_guide_adds_an_rpc_a_table_and_an_event(tree: Path) -> None:
    with Walk(tree, environment_of(tree)) as walk:
        walk.follow(GUIDES / "add-an-rpc.md")
