"""The life of a real process: how it starts, what it says, and how it ends."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from chassis.rpc.client import Peer
from chassis.tests.wire import TRUSTED, member, private_key, stamper
from flownurture.contacts.v1 import contacts_pb2 as pb
from flownurture.contacts.v1.contacts_pb2_grpc import ContactServiceStub

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
GET = pb.GetContactRequest(contact_id="01900000-0000-7000-8000-000000000000")

PROGRAM = """
import asyncio, sys
from pathlib import Path
from chassis.command import service_command
from chassis.process import Process
from chassis.rpc.server import RpcServer
from chassis.settings import ProcessSettings
from chassis.tests.wire import Contacts, pb

here = Path(sys.argv[0]).parent

class Slow(Contacts):
    async def get_contact(self, request, context):
        (here / "begun").touch()
        while not (here / "finish").exists():
            await asyncio.sleep(0.01)
        return pb.Contact(id="finished")

class Component:
    async def __aenter__(self):
        while (here / "hang").exists():
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_):
        (here / "left").touch()

    async def ready(self):
        return not (here / "unwell").exists()

class Work:
    async def run(self):
        while not (here / "die").exists():
            await asyncio.sleep(0.01)
        raise RuntimeError("the work cannot go on")

async def serve(settings):
    async with Process("contacts", settings) as process:
        await process.enter(Component())
        process.start(Work())
        await process.serve(RpcServer("contacts", settings.listen, process.verifier).add(Slow()))

if __name__ == "__main__":
    service_command("contacts", ProcessSettings, serve)()
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


class Program:
    """The program above, in a process of its own."""

    def __init__(self, folder: Path, source: str = PROGRAM) -> None:
        self.folder = folder
        self.file = folder / "program.py"
        self.file.write_text(textwrap.dedent(source))
        self.port, self.side_port = free_port(), free_port()
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}",
            "LISTEN": f"127.0.0.1:{self.port}",
            "METRICS_LISTEN": f"127.0.0.1:{self.side_port}",
            "STAMP_PRIVATE_KEY": private_key("gateway").reveal(),
            "STAMP_TRUSTED_KEYS": json.dumps(TRUSTED),
        }

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, self.file, "serve"], env=self.environment, stderr=subprocess.PIPE, text=True
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        return subprocess.run(
            [sys.executable, self.file, *command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def touch(self, name: str) -> None:
        (self.folder / name).touch()

    def get(self, path: str) -> tuple[int, str]:
        """Ask the side port; 0 while nobody answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.side_port}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self) -> None:
        wait_until(lambda: self.get("/readyz")[0] == 200 or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()[1]

    def ended(self) -> tuple[int, list[dict[str, str]]]:
        """The exit code, and what was logged."""
        _, log = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, [json.loads(line) for line in log.splitlines()]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    yield program
    if hasattr(program, "process") and program.process.poll() is None:
        program.process.kill()
        program.process.communicate()


async def test_a_stop_lets_the_call_in_flight_finish_and_ends_well(program: Program) -> None:
    program.start()
    await asyncio.to_thread(program.wait_ready)
    async with Peer(f"127.0.0.1:{program.port}", "contacts", stamper()) as peer:
        call = asyncio.create_task(peer.call(ContactServiceStub(peer.channel).GetContact, GET, member()))
        await asyncio.to_thread(wait_until, (program.folder / "begun").exists)
        program.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(wait_until, lambda: program.get("/readyz")[0] == 503)
        assert not (program.folder / "left").exists()
        program.touch("finish")
        assert (await call).id == "finished"
    code, log = await asyncio.to_thread(program.ended)
    assert code == 0
    assert [entry["event"] for entry in log] == ["process_ready", "process_stopping"]
    assert (program.folder / "left").exists()


def test_a_background_task_that_dies_takes_the_process_with_it(program: Program) -> None:
    program.start()
    program.wait_ready()
    program.touch("die")
    code, log = program.ended()
    assert code == 1
    failure = next(entry for entry in log if entry["event"] == "task_failed")
    assert failure["task"] == "Work"
    assert "the work cannot go on" in failure["exception"]
    assert (program.folder / "left").exists()


def test_the_side_port_tells_life_readiness_and_metrics(program: Program) -> None:
    program.start()
    program.wait_ready()
    assert program.get("/healthz") == (200, "ok\n")
    assert "process_resident_memory_bytes" in program.get("/metrics")[1]
    assert program.get("/elsewhere")[0] == 404
    program.touch("unwell")
    status, text = program.get("/readyz")
    assert status == 503
    assert "Component" in text
    assert program.get("/healthz")[0] == 200


def test_a_stop_during_the_start_ends_it_at_once(program: Program) -> None:
    program.touch("hang")
    program.start()
    wait_until(lambda: program.get("/healthz")[0] == 200)
    assert program.get("/readyz")[0] == 503
    program.process.send_signal(signal.SIGTERM)
    assert program.ended()[0] == 0


def test_each_variable_that_is_missing_or_wrong_is_one_line(program: Program) -> None:
    program.environment["STAMP_PRIVATE_KEY"] = "hunter2"
    program.environment["LISTEN"] = "everywhere"
    program.environment["METRICS_LISTEN"] = ""
    ended = program.run("serve")
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["LISTEN", "METRICS_LISTEN", "STAMP_PRIVATE_KEY"]
    assert "hunter2" not in ended.stderr


def test_the_settings_command_lists_every_variable(program: Program) -> None:
    listed = program.run("settings").stdout
    assert set(program.environment) - {"PATH", "PYTHONPATH"} <= set(listed.split())


def test_what_only_traces_need_is_not_loaded_without_an_endpoint(program: Program) -> None:
    source = (
        "\n    import sys\n    assert not [name for name in sys.modules if 'opentelemetry.sdk' in name]\n"
    )
    program.file.write_text(
        PROGRAM.replace('if __name__ == "__main__":', f'if __name__ == "__main__":{source}')
    )
    assert program.run("--help").returncode == 0


def test_a_service_with_an_rpc_without_access_option_does_not_start(tmp_path: Path) -> None:
    undecided = """
        from google.protobuf import descriptor_pb2, descriptor_pool

        file = descriptor_pb2.FileDescriptorProto(name="undecided.proto", package="undecided.v1", syntax="proto3")
        file.message_type.add(name="Nothing")
        file.service.add(name="UndecidedService").method.add(
            name="GetNothing", input_type=".undecided.v1.Nothing", output_type=".undecided.v1.Nothing"
        )
        pool = descriptor_pool.Default()
        pool.AddSerializedFile(file.SerializeToString())

        class Undecided:
            service = pool.FindServiceByName("undecided.v1.UndecidedService")

            async def get_nothing(self, request, context):
                return request
    """
    source = textwrap.dedent(undecided) + PROGRAM.replace(".add(Slow())", ".add(Undecided())")
    ended = Program(tmp_path, source).run("serve")
    assert ended.returncode == 1
    assert "undecided.v1.UndecidedService.GetNothing" in ended.stderr
    assert "Traceback" not in ended.stderr
