"""Real servers for every test: started once a run, whatever number of workers it has, and only if a test asks.

Those of DATABASE_URL, NATS_URL and REDIS_URL where set, containers with TEST_SERVERS=containers, else embedded ones on
free ports. Each test makes its own organization, so nothing is cleaned up.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import structlog
from hypothesis import settings

from deploy.local.environment import Addresses, owner_url, process_environment
from deploy.local.secrets import Secrets
from deploy.local.servers.keeper import FAILED, READY

_ROOT = Path(__file__).parent
_PATIENCE_SECONDS = 120.0

# How long an example takes tells of the machine: one that others use, too, is no counterexample.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
# Of a failure that is logged there is to be seen where it was. Left to itself structlog draws every variable of every function on the way,
# which takes seconds, and more the more a worker has in memory.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)
# Tests serve gRPC as they start programs. What it does around a fork, for whoever would go on with it in the child, has broken children that
# were only to execute something else. Read as gRPC is imported: by the conftests of the services, after this.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"


@dataclass(frozen=True)
class Servers:
    """Where the servers of this run are, for tests that look behind the services."""

    admin_database_url: str
    nats_url: str
    redis_url: str
    addresses: Addresses
    secrets: Secrets


@dataclass(frozen=True)
class _Run:
    """A test run: the folder in which its workers meet, and the process it lives as long as."""

    folder: Path
    pid: int


_run_key = pytest.StashKey[_Run]()


def pytest_configure(config: pytest.Config) -> None:
    """The process that the user started makes the folder; workers are told."""
    told = getattr(config, "workerinput", None)
    if told is not None:
        config.stash[_run_key] = _Run(Path(told["run_folder"]), told["run_pid"])
        return
    folder = Path(tempfile.mkdtemp(prefix="flownurture-tests-"))
    # PostgreSQL runs as somebody else, who has to get through.
    folder.chmod(0o755)
    config.stash[_run_key] = _Run(folder, os.getpid())


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays: garbage is not looked for in it, neither meanwhile nor ever after."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker which run it belongs to."""
    run = node.config.stash[_run_key]
    node.workerinput |= {"run_folder": str(run.folder), "run_pid": run.pid}


def pytest_unconfigure(config: pytest.Config) -> None:
    """A run that needed no servers leaves no folder; otherwise their keeper removes it."""
    run = config.stash.get(_run_key, None)
    if run is not None and run.pid == os.getpid() and run.folder.exists() and not any(run.folder.iterdir()):
        run.folder.rmdir()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Have the tests that share a house run in one worker."""
    from tests.integration.one_worker import WholeSystemInOneWorker  # noqa: PLC0415 - only where there are workers

    return WholeSystemInOneWorker(config, log)


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Servers:
    """PostgreSQL, NATS and Redis, with every schema, role, stream and reader that the platform has."""
    run = request.config.stash[_run_key]
    with (run.folder / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not (run.folder / READY).exists():
            _start(run)
    given = json.loads((run.folder / READY).read_text())
    return Servers(
        **given | {"addresses": Addresses(**given["addresses"]), "secrets": Secrets(**given["secrets"])}
    )


@pytest.fixture(scope="session")
def service_environment(servers: Servers) -> Callable[[str], dict[str, str]]:
    """The complete environment of a process, by its name, against the servers of this run."""
    return lambda process: process_environment(process, servers.addresses, servers.secrets)


@pytest.fixture(scope="session")
def owner_database_url(servers: Servers) -> Callable[[str], str]:
    """As whom a schema is migrated, by its name."""
    return lambda schema: owner_url(schema, servers.addresses, servers.secrets)


@pytest.fixture(scope="session", autouse=True)
def nobody_has_to_notice() -> Iterator[None]:
    """Servers of single tests end at once: there is no load balancer that has to notice before they do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chassis.rpc.server._NOTICE", 0.0)
        yield


def _start(run: _Run) -> None:
    with (run.folder / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.servers.keeper", str(run.folder), str(run.pid)],
            cwd=_ROOT,
            env=os.environ | {"PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'proto' / 'gen'}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = monotonic() + _PATIENCE_SECONDS
    while not (run.folder / READY).exists():
        failure = run.folder / FAILED
        if failure.exists():
            pytest.exit(f"The test servers did not start: {failure.read_text()}", returncode=3)
        if keeper.poll() is not None or monotonic() > deadline:
            log_text = (run.folder / "keeper.log").read_text() if run.folder.exists() else ""
            pytest.exit(f"The test servers did not start.\n{log_text}", returncode=3)
        sleep(0.05)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests have counted: whatever they recorded as the property `figure`."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    figures = {figure for report in reports for name, figure in report.user_properties if name == "figure"}
    for figure in sorted(figures):
        terminalreporter.write_line(str(figure))
