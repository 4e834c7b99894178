import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    not (ROOT / ".venv" / "bin" / "python").exists(), reason="the clone has no .venv: make install"
)
def test_the_launcher_starts_the_command_line_from_anywhere_and_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "flownurture").symlink_to(ROOT / "bin" / "flownurture")
    command = [str(tmp_path / "flownurture"), "backup"]
    ended = subprocess.run(
        command, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=False
    )
    assert (ended.returncode, b"Missing argument 'FILE'" in ended.stderr) == (2, True), ended.stderr
