"""Services' own commands for operators, run for them: each with its schema's roles, and what is told it by its name before a variable."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import takewhile

from chassis.secret import Secret
from deploy.database.roles import role_list
from operations.exit_codes import ExitCode
from operations.output import end
from operations.servers.roles import role_url

# Which role each variable is the URL of.
_ROLES = {
    "DATABASE_URL": "app",
    "DATABASE_RELAY_URL": "relay",
    "DATABASE_SCHEDULER_URL": "scheduler",
    "DATABASE_PLATFORM_URL": "platform",
}


@dataclass(frozen=True, slots=True)
class Said:
    """How a command of a service ended, and what it said."""

    code: int
    text: str


def run(schema: str, server: Secret, *words: str) -> Said:
    """Run `python -m services.<schema> …` to its end. What it says on the way goes to stderr, as it comes.

    Ends the command where the service is not installed, as in the operator's image, which has migrations alone.
    """
    if find_spec(f"services.{schema}.__main__") is None:
        end(ExitCode.REFUSED, f"services.{schema} is not here. In a cluster: {in_a_cluster(schema, *words)}")
    command = [sys.executable, "-m", f"services.{schema}", *words]
    ended = subprocess.run(  # noqa: S603 - a module of the platform
        command, env=_environment(schema, server), stdout=subprocess.PIPE, text=True, check=False
    )
    return Said(ended.returncode, ended.stdout.strip())


def in_a_cluster(schema: str, *words: str) -> str:
    """The same where processes run from images: in a pod of the service, which has the service and its variables.

    Without options: a file that one of them names is not in the pod.
    """
    command = " ".join(takewhile(lambda word: not word.startswith("-"), words))
    return f"kubectl exec -n flownurture deployment/{schema} -- python -m services.{schema} {command}"


def _environment(schema: str, server: Secret) -> Mapping[str, str]:
    prefix = f"{schema.upper()}_"
    of_schema = {
        name.removeprefix(prefix): value for name, value in os.environ.items() if name.startswith(prefix)
    }
    known = {role.name for role in role_list().roles}
    urls = {
        variable: role_url(server, f"{schema}_{kind}").reveal()
        for variable, kind in _ROLES.items()
        if f"{schema}_{kind}" in known
    }
    return {**os.environ, **of_schema, **urls}
