"""Keeps a house for a test run: `python -m tests.integration.house_keeper <folder>`.

Opens it, says so on standard output, and when standard input ends, which it does however the run goes, leaves nothing of it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

OPEN = "open"
_REPLACED = ("DATABASE_URL", "NATS_URL", "REDIS_URL", "SMTP_URL")


def keep(folder: Path) -> int:
    """Have a house stand in this folder until standard input ends; 1 when it cannot stand."""
    # A house of its own in everything: its servers are killed.
    environment = {name: value for name, value in os.environ.items() if name not in _REPLACED}
    environment |= {"FLOWNURTURE_VAR": str(folder), "FLOWNURTURE_PORTS": "free"}
    runtime = (sys.executable, "-m", "deploy.local")
    try:
        up = subprocess.run((*runtime, "up"), env=environment, capture_output=True, text=True, check=False)
        print(OPEN if up.returncode == 0 else f"{up.stdout}\n{up.stderr}", flush=True)
        sys.stdin.read()
        return up.returncode
    finally:
        subprocess.run((*runtime, "reset", "--yes"), env=environment, stdout=subprocess.DEVNULL, check=False)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1])))
