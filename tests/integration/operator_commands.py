"""The operator's command line, as an operator runs it: another process, with an environment of its own."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.database.roles import role_list
from deploy.local.ports import Ports
from deploy.local.premises import Premises
from deploy.local.state import read_json
from deploy.redis.users import ADMIN as REDIS_ADMIN
from tests.integration.house import House

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        """What it said as JSON."""
        assert self.code == 0, self.err
        return json.loads(self.out)


async def flownurture(*words: str | Path, **variables: str) -> Ended:
    """Run a command with these variables, and nothing else of what this process was told but how to find programs."""
    path = os.pathsep.join((variables.pop("programs", ""), os.environ["PATH"]))
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "operations", *map(str, words)),
        cwd=_ROOT,
        env={"PATH": path, "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'proto' / 'gen'}", **variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await program.communicate()
    return Ended(program.returncode or 0, out, err.decode())


def premises_of(house: House) -> Premises:
    """Where a house stands, as who opened it knows."""
    return Premises(house.state, Ports(**read_json(house.state.ports)), {})


def variables_of_servers(premises: Premises) -> dict[str, str]:
    """What an operator has for commands that need the servers of a house."""
    passwords = premises.secrets.role_passwords()
    keys = premises.secrets.key_encryption_keys
    return {
        "programs": str(premises.postgres.programs / "bin"),
        "DATABASE_ADMIN_URL": premises.admin_url.reveal(),
        "NATS_URL": premises.addresses.nats_url,
        "NATS_ADMIN_PASSWORD": premises.secrets.bus_passwords()["admin"].reveal(),
        "REDIS_URL": premises.addresses.redis_urls[REDIS_ADMIN],
        **{f"PASSWORD_{role.name.upper()}": passwords[role.name].reveal() for role in role_list().roles},
        **key_variables(keys),
    }


def key_variables(keys: Mapping[str, str]) -> dict[str, str]:
    """The key-encryption keys of schemas, as commands are told them."""
    return {
        f"{schema.upper()}_KEY_ENCRYPTION_KEYS": json.dumps({"local-1": key}) for schema, key in keys.items()
    }
