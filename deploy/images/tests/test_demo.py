import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.images.building import ROOT
from deploy.images.catalog import IMAGES, reference
from deploy.images.engine import Engine

TAG = os.environ.get("TAG", "dev")


@pytest.fixture
def engine() -> Engine:
    """An engine that has all images."""
    engine = Engine(os.environ.get("ENGINE", "docker"))
    if reason := engine.missing():
        pytest.skip(f"No containers here: {reason}.")
    if lacking := [image for image in IMAGES if not engine.has(reference(image, TAG))]:
        pytest.skip(f"Not built with tag {TAG}: {', '.join(lacking)}. `make images` builds them.")
    return engine


@pytest.mark.slow
def test_the_platform_keeps_its_promise_from_images_without_privileges_on_roots_that_cannot_be_written_to(
    engine: Engine, tmp_path: Path
) -> None:
    environment = os.environ | {"FLOWNURTURE_VAR": str(tmp_path), "ENGINE": engine.command, "TAG": TAG}
    demo = (sys.executable, "-m", "deploy.images", "demo")
    played = subprocess.run(demo, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert played.returncode == 0, f"{played.stdout}\n{played.stderr}"
    assert "checks hold" in played.stdout
    # It has ended by then.
    assert "goes on running" not in played.stdout
