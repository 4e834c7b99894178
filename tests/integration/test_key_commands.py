"""The commands about keys do their work in each schema that keeps something sealed, as the roles that its processes have."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# How many do not open is other tests' affair: they spoil what they keep.
TOLD = {
    "rewrap-keys": r"\d+ of \d+ keys wrapped again, \d+ did not open\n"
    r"(?:\d+ of \d+ values of second_factors\.sealed_seed sealed again, \d+ did not open\n)?",
    "rotate-data-keys": r"(\d+) of \1 organizations, 0 keys made, \d+ values sealed again, \d+ did not open\n",
}


@pytest.mark.parametrize("command", TOLD)
@pytest.mark.parametrize("service", ["identity", "integrations", "sending", "webhooks"])
def test_the_command_goes_through_all_organizations(
    service_environment: Callable[[str], dict[str, str]], service: str, command: str
) -> None:
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}"}
    ended = subprocess.run(
        (sys.executable, "-m", f"services.{service}", command),
        env=os.environ | service_environment(service) | path,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert re.fullmatch(TOLD[command], ended.stdout), ended.stderr
