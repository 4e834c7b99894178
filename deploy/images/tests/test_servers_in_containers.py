import os
import subprocess
import sys

import pytest

from deploy.images.building import ROOT
from deploy.images.engine import Engine

SERVERS = ("postgres:18", "nats:2", "redis:8")
REPLACED = ("DATABASE_URL", "NATS_URL", "REDIS_URL")


@pytest.mark.slow
def test_tests_that_ask_for_containers_have_their_servers_in_them() -> None:
    engine = Engine(os.environ.get("ENGINE", "docker"))
    if reason := engine.missing():
        pytest.skip(f"No containers here: {reason}.")
    if lacking := [image for image in SERVERS if not engine.has(image)]:
        pytest.skip(f"The engine lacks {', '.join(lacking)}, and no test downloads any.")
    environment = {name: value for name, value in os.environ.items() if name not in REPLACED}
    tests = (sys.executable, "-m", "pytest", "-q", "-n", "0", "chassis/tests/test_outbox.py")
    ran = subprocess.run(
        tests,
        cwd=ROOT,
        env=environment | {"TEST_SERVERS": "containers"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert "skipped" not in ran.stdout
