"""A NATS server that a test may kill."""

import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import nats
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, StreamConfig

from chassis.secret import Secret
from chassis.settings import EventsSettings
from chassis.tests.certificates import Files

PASSWORD = "probe"


@dataclass
class Broker:
    """A NATS server of this test's own, to be killed at will; what it acknowledged survives on its disk."""

    directory: Path
    port: int = 0
    tls: Files | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"{'tls' if self.tls else 'nats'}://127.0.0.1:{self.port}"

    @property
    def settings(self) -> EventsSettings:
        return EventsSettings(nats_url=self.url, nats_user="probe", nats_password=Secret(PASSWORD))

    def start(self) -> Self:
        if not self.port:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                self.port = listener.getsockname()[1]
        config = self.directory / "nats.conf"
        config.write_text(f"""
            listen: 127.0.0.1:{self.port}
            jetstream {{ store_dir: "{self.directory}", sync_interval: always }}
            authorization {{ user: probe, password: {PASSWORD} }}
        """)
        if self.tls is not None:
            with config.open("a") as added:
                added.write(
                    f'tls {{ cert_file: "{self.tls.certificate}", key_file: "{self.tls.key}", handshake_first: true }}'
                )
        program = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
        assert program is not None
        self._process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        raise TimeoutError("nats-server does not listen")

    def kill(self) -> None:
        """SIGKILL, at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


async def provision(
    url: str, stream: str, subjects: str, *, durable: str = "probe", ack_wait: float = 30
) -> None:
    """Create a stream of these subjects and a durable consumer, as deployment does."""
    client = await nats.connect(url, user="probe", password=PASSWORD)
    jetstream: JetStreamContext = client.jetstream()
    await jetstream.add_stream(StreamConfig(name=stream, subjects=[subjects]))
    await jetstream.add_consumer(
        stream, ConsumerConfig(durable_name=durable, ack_wait=ack_wait, max_deliver=-1)
    )
    await client.close()
