"""Postfix with OpenDKIM, both of Debian, set up as people do who send much: an instance beside the system's, with its own folders.

Its queue is on disk and synced, as Postfix wants it. It keeps its connections to the relay, resolves no names, holds nothing back,
and has OpenDKIM sign with RSA-2048.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.sending.contenders import own_turn
from bench.sending.ports import unused_port
from bench.sending.processor import difference, used_by
from bench.sending.sinks import Sink, debian
from bench.sending.turns import Turn, say
from deploy.local.servers.program import HOST, listens

_PATIENCE = 120.0  # seconds
_LOOK_SECONDS = 0.05
_QUEUES = ("maildrop", "incoming", "active", "deferred")
# Less than this, in microseconds of a message, and nothing was signed.
_LEAST_FOR_SIGNING = 200

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log/postfix.log
maillog_file_prefixes = {folder}
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.bench.test
mydestination =
alias_maps =
local_recipient_maps =
inet_interfaces = {host}
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_milters = inet:{host}:{milter}
milter_default_action = tempfail
relayhost = [{host}]:{relay}
smtp_connection_cache_destinations = static:all
smtp_tls_security_level = none
default_destination_concurrency_limit = 20
initial_destination_concurrency = 20
in_flow_delay = 0
"""
_MASTER = """\
{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
_OPENDKIM = """\
Socket inet:{milter}@{host}
Domain bench.test
Selector bench
KeyFile {folder}/key.pem
RequireSafeKeys no
Canonicalization relaxed/relaxed
Mode s
InternalHosts 127.0.0.1
UserID opendkim
Background no
Syslog no
"""


@dataclass(frozen=True)
class MailServer:
    """Where it takes mail, and what it consists of."""

    relay: Sink
    port: int
    queue: Path
    pids: dict[str, list[int]]

    def turn(self, messages: int) -> Turn:
        """Have it take messages from the engine's connections, sign and hand them over; until its queue is empty."""
        processes = self.pids | {"relay": [self.relay.pid]}
        before = used_by(processes)
        injected = own_turn("engine", Sink(self.port, self.pids["postfix"][0]), messages)
        began = time.perf_counter()
        self._await_empty()
        seconds = injected.seconds + time.perf_counter() - began
        taken = difference(before, used_by(processes))
        if taken["opendkim"] / messages * 1e6 < _LEAST_FOR_SIGNING:
            raise SystemExit("OpenDKIM does not sign")
        return Turn(messages, seconds, taken | {"sender": injected.processor_seconds["sender"]})

    def _await_empty(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while any(files for name in _QUEUES for _, _, files in os.walk(self.queue / name)):
            if time.monotonic() > deadline:
                raise SystemExit("Postfix does not empty its queue")
            time.sleep(_LOOK_SECONDS)


@contextmanager
def mail_server(relay: Sink) -> Iterator[MailServer]:
    """Run one that hands over to the relay. Exits with 2 where it cannot run: it takes root, as Postfix does."""
    postfix, opendkim = debian("postfix"), debian("opendkim")
    if os.geteuid() != 0:
        say("Postfix is started by root alone")
        raise typer.Exit(2)
    with tempfile.TemporaryDirectory(prefix="flownurture-postfix-") as name:
        folder, port, milter = Path(name), unused_port(), unused_port()
        _write(folder, port, milter, relay)
        signer = subprocess.Popen([opendkim, "-f", "-x", str(folder / "opendkim.conf")])  # noqa: S603 - Debian's
        command = [postfix, "-c", str(folder / "etc")]
        subprocess.run([*command, "start"], check=True, capture_output=True)  # noqa: S603
        try:
            _await_listening(milter, port)
            master = int((folder / "queue/pid/master.pid").read_text())
            yield MailServer(relay, port, folder / "queue", {"postfix": [master], "opendkim": [signer.pid]})
        finally:
            subprocess.run([*command, "stop"], check=False, capture_output=True)  # noqa: S603
            signer.terminate()
            signer.wait()


def _write(folder: Path, port: int, milter: int, relay: Sink) -> None:
    folder.chmod(0o755)
    for name in ("etc", "queue", "data", "log"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    places = {"folder": folder, "host": HOST, "milter": milter, "relay": relay.port, "port": port}
    main = _MAIN.format(**places, daemons=_daemons())
    (folder / "etc/main.cf").write_text(main)
    (folder / "etc/master.cf").write_text(_MASTER.format(**places))
    (folder / "opendkim.conf").write_text(_OPENDKIM.format(**places))
    key = generate_private_key(65_537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    (folder / "key.pem").write_bytes(key)
    shutil.chown(folder / "key.pem", "opendkim")


def _daemons() -> str:
    command = [debian("postconf"), "-dh", "daemon_directory"]
    found = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return found.stdout.strip()


def _await_listening(*ports: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not all(map(listens, ports)):
        if time.monotonic() > deadline:
            raise SystemExit("Postfix or OpenDKIM does not listen")
        time.sleep(_LOOK_SECONDS)
