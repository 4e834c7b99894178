"""What the component `backup` starts is a backup as the command line takes it, and is told whose it is."""

import os
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from deploy.k8s.check.environment import variables
from deploy.k8s.check.objects import Object
from deploy.k8s.check.tests.built import built
from deploy.k8s.check.trees import ROOT, Tree

CLONE = ROOT.parents[1]
NOWHERE = "postgresql://backup:of-a-test@127.0.0.1:1/postgres"


@pytest.fixture(params=["staging", "production"])
def overlay(request: pytest.FixtureRequest) -> Tree:
    return built(f"overlays/{request.param}")


def backup_of(overlay: Tree) -> Object:
    found = overlay.named("CronJob", "backup")
    assert found is not None
    return found


def taken(overlay: Tree, folder: Path, **told: str) -> subprocess.CompletedProcess[str]:
    """What becomes of the container's command, with its own variables where no others are told."""
    pod = backup_of(overlay).pod
    assert pod is not None
    (container,) = pod.containers
    environment = {each.name: each.value or "" for each in variables(overlay, container)}
    environment |= {"POD_NAME": "backup-29384710-abcde", "DATABASE_ADMIN_URL": NOWHERE, **told}
    places = {"$(POD_NAME)": environment["POD_NAME"], "/backups": str(folder)}
    words = container["command"]
    for written, meant in places.items():
        words = [word.replace(written, meant) for word in words]
    return subprocess.run(
        [sys.executable, *words[1:]],
        cwd=CLONE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{CLONE}{os.pathsep}{CLONE / 'proto' / 'gen'}"}
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_until_an_overlay_says_who_opens_them_no_backup_is_taken(overlay: Tree, tmp_path: Path) -> None:
    ended = taken(overlay, tmp_path)
    assert ended.returncode == 2
    assert "age1-yours" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_that_finds_no_database_fails_its_job_and_leaves_no_file(overlay: Tree, tmp_path: Path) -> None:
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    ended = taken(overlay, tmp_path, BACKUP_RECIPIENTS=recipient)
    assert ended.returncode == 4
    assert "127.0.0.1" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_backups_are_taken_by_the_release_that_runs(overlay: Tree) -> None:
    images = {
        str(container["image"])
        for _, pod in overlay.pods
        for container in pod.containers
        if str(container["image"]).startswith("flownurture/")
    }
    assert "flownurture/operator:0.1.0" in images
    assert len({image.partition(":")[2] for image in images}) == 1


def test_it_tries_more_than_once_before_somebody_is_paged_and_two_never_meet(overlay: Tree) -> None:
    spec = backup_of(overlay).spec
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["backoffLimit"] > 0
    # One that hangs is over before the next one is due, each night.
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 24 * 3600
