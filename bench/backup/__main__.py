"""`python -m bench.backup`: how long a backup of a million contacts takes, how large it is, and how long until it is restored.

The commands are run as an operator runs them, on servers of their own (PostgreSQL without fsync), and compared with pg_dump and
pg_restore alone. The last line is JSON.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import psycopg
import pyrage
import typer

from bench.contacts.stage import Stage, stage
from chassis.secret import Secret
from deploy.database.roles import role_list
from deploy.local.servers.postgres import Postgres
from deploy.redis.users import ADMIN as REDIS_ADMIN

_TIMES_PG_DUMP = 1.5
_MOST_MIB = 256


def main(
    contacts: Annotated[int, typer.Option(help="Contacts that the organization has.")] = 1_000_000,
) -> None:
    """Measure; exits with 1 when a stated figure is not met."""
    with stage(contacts) as made, tempfile.TemporaryDirectory(prefix="flownurture-bench-") as folder:
        figures = _figures(made, Path(folder)) | {"contacts": contacts}
    figures["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps(figures))
    raise typer.Exit(0 if figures["meets"] else 1)


def _figures(made: Stage, folder: Path) -> dict[str, Any]:
    programs = Postgres(folder / "none", 0, folder / "none.log", Secret("")).programs / "bin"
    environment = os.environ | _variables(made) | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    identity, backup = pyrage.x25519.Identity.generate(), folder / "of-today.age"
    (folder / "key.txt").write_text(str(identity))
    [(size,)] = made.look("SELECT pg_database_size(current_database()) / 1e6")
    alone = _timed(["pg_dump", "--format=custom", "--compress=gzip:6", made.admin_url], environment)
    words = ["backup", str(backup), "--to", str(identity.to_public())]
    taken = _timed([sys.executable, "-m", "operations", *words], environment)
    resident = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    verified = _timed(
        [sys.executable, "-m", "operations", "verify", str(backup), "-i", str(folder / "key.txt")],
        environment,
    )
    with psycopg.connect(environment["DATABASE_ADMIN_URL"], autocommit=True) as connection:
        connection.execute("DROP DATABASE flownurture WITH (FORCE)")
    restored = _timed(
        [sys.executable, "-m", "operations", "restore", str(backup), "-i", str(folder / "key.txt")],
        environment,
    )
    figures: dict[str, Any] = {
        "database_mb": round(float(str(size))),
        "backup_mb": round(backup.stat().st_size / 1e6),
        "pg_dump_seconds": round(alone, 1),
        "backup_seconds": round(taken, 1),
        "verify_seconds": round(verified, 1),
        "restore_seconds": round(restored, 1),
        "times_pg_dump": round(taken / alone, 2),
        "most_resident_mib": round(resident),
    }
    return figures | {"meets": taken / alone <= _TIMES_PG_DUMP and resident <= _MOST_MIB}


def _variables(made: Stage) -> dict[str, str]:
    passwords = made.secrets.role_passwords()
    return {
        "DATABASE_ADMIN_URL": f"{made.admin_url.rpartition('/')[0]}/postgres",
        "NATS_URL": made.addresses.nats_url,
        "NATS_ADMIN_PASSWORD": made.secrets.bus_passwords()["admin"].reveal(),
        "REDIS_URL": made.addresses.redis_urls[REDIS_ADMIN],
        **{f"PASSWORD_{role.name.upper()}": passwords[role.name].reveal() for role in role_list().roles},
    }


def _timed(command: list[str], environment: dict[str, str]) -> float:
    begun = perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - of ours
    return perf_counter() - begun


if __name__ == "__main__":
    typer.run(main)
