"""One house for all tests that need the whole platform, in one worker, and an API to call it by."""

import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.local.state import StateFolder
from tests.integration.house import House
from tests.integration.house_keeper import OPEN

_CLOSING_SECONDS = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs the house says so, for `-m house`."""
    for item in items:
        if "house" in getattr(item, "fixturenames", ()) and Path(__file__).parent in item.path.parents:
            item.add_marker("house")


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    """The whole platform, opened as a person opens it. It is gone after the run, even when that is killed."""
    with opened_house() as house:
        yield house


def house_folder() -> Path:
    """A folder for a house, which is gone once it was open."""
    folder = Path(tempfile.mkdtemp(prefix="flownurture-house-"))
    # PostgreSQL runs as somebody else, who has to get through.
    folder.chmod(0o755)
    return folder


@contextmanager
def opened_house(folder: Path | None = None, /, **variables: str) -> Iterator[House]:
    """A house in a folder, where its servers may have stood before, with these variables in the environment of who opens it."""
    folder = folder or house_folder()
    keeper = subprocess.Popen(
        (sys.executable, "-m", "tests.integration.house_keeper", folder),
        cwd=Path(__file__).parents[2],
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        if (said := keeper.stdout.readline().strip()) != OPEN:
            keeper.stdin.close()
            pytest.fail(f"The house did not open.\n{said}\n{keeper.stdout.read()}", pytrace=False)
        yield House(StateFolder(folder))
    finally:
        keeper.stdin.close()
        keeper.wait(_CLOSING_SECONDS)


@pytest.fixture
async def api(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the gateway, as anybody."""
    # There is no TLS here: reading the authorities of the machine for each test would take longer than most tests.
    async with httpx.AsyncClient(base_url=house.gateway_url, timeout=30, verify=False) as api:
        yield api
