"""Where syncs are measured: real servers, the processes that a sync asks, the process that syncs, and CRMs that limit nobody."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, cast

import httpx
import orjson
from psycopg.sql import SQL

from bench.sending.ports import unused_port
from bench.sending.stage import Platform, Stage, stage
from deploy.local.environment import process_environment
from deploy.local.opening import python_path
from deploy.local.servers.program import HOST

_SHARED_BUFFERS = "1GB"

# Others who use the platform already, so that PostgreSQL knows what its tables are like.
_NEIGHBOURS = SQL("""
    INSERT INTO contacts.contacts (organization_id, id, email, email_digest, first_name, last_name, status, custom_fields)
    SELECT organization_id, uuidv7(), email, sha256(email::bytea), 'First' || n % 1000, 'Last' || n % 5000, 'subscribed', '{{}}'
    FROM (SELECT gen_random_uuid() AS organization_id FROM generate_series(1, 50)) AS neighbours,
         (SELECT n, 'neighbour' || n || '@example.com' AS email FROM generate_series(1, 1000) AS n) AS people;
    INSERT INTO integrations.connections
        (organization_id, id, provider, method, account_id, account_name, base_url, connected_by, connected_by_kind)
    SELECT DISTINCT ON (organization_id) organization_id, id, 'hubspot', 'oauth', '1', 'Neighbour', '', id, 'user'
    FROM contacts.contacts WHERE email LIKE 'neighbour%';
    INSERT INTO integrations.links
        (organization_id, connection_id, contact_id, record_id, fingerprints, crm_opted_out, is_cut)
    SELECT contact.organization_id, connection.id, contact.id, row_number() OVER (), '{{}}', false, false
    FROM contacts.contacts AS contact JOIN integrations.connections AS connection USING (organization_id);
    INSERT INTO integrations.outgoing_changes (organization_id, connection_id, contact_id, event_id)
    SELECT organization_id, connection_id, contact_id, uuidv7() FROM integrations.links;
    ANALYZE
""")


@dataclass
class Syncing:
    """All that takes part. `engine` syncs, while an integrations process hears of what changes; the CRMs are by their addresses."""

    platform: Platform
    engine: subprocess.Popen[bytes]
    crms: dict[str, int] = field(default_factory=dict)

    @property
    def stage(self) -> Stage:
        """The servers, and the organization."""
        return self.platform.stage

    @property
    def pids(self) -> Mapping[str, list[int]]:
        """Of all processes, by name."""
        return {
            **self.platform.pids,
            "engine": [self.engine.pid],
            "crm": list(self.crms.values()),
        }

    def tell(self, *order: object) -> dict[str, Any]:
        """Have the engine do something; answers what came of it."""
        orders, answers = cast("tuple[IO[bytes], IO[bytes]]", (self.engine.stdin, self.engine.stdout))
        orders.write(orjson.dumps(order) + b"\n")
        orders.flush()
        answer = answers.readline()
        if not answer:
            raise SystemExit("the process that syncs has ended")
        told: dict[str, Any] = orjson.loads(answer)
        return told

    @contextmanager
    def crm(self, contacts: int) -> Iterator[str]:
        """One more CRM, with so many contacts; answers its address."""
        command = [sys.executable, "-m", "bench.syncs.crm", str(contacts)]
        with _running(command, dict(os.environ)) as process:
            url = cast("IO[bytes]", process.stdout).readline().decode().strip()
            self.crms[url] = process.pid
            yield url
            del self.crms[url]


def edit(url: str, number: int) -> None:
    """Change so many contacts of a CRM."""
    httpx.post(f"{url}/edit", json=number, timeout=60).raise_for_status()


@contextmanager
def syncing() -> Iterator[Syncing]:
    """Everything, until this is left."""
    with stage(shared_buffers=_SHARED_BUFFERS) as made, ExitStack() as running:
        made.execute(_NEIGHBOURS)
        platform = Platform(made, made.addresses, {name: [pid] for name, pid in made.servers.items()})
        for name in ("identity", "contacts", "suppression", "integrations"):
            running.enter_context(platform.running(name))
        own = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        own |= {"PYTHONPATH": python_path(), "MALLOC_ARENA_MAX": "2", "LOG_LEVEL": "WARNING"}
        own |= process_environment("integrations", made.addresses, made.secrets)
        own |= {"METRICS_LISTEN": f"{HOST}:{unused_port()}"}
        own |= {"SUPPRESSION_TARGET": made.addresses.listen["suppression"]}
        command = [sys.executable, "-m", "bench.syncs.engine", str(made.context.organization)]
        yield Syncing(platform, running.enter_context(_running(command, own)))


@contextmanager
def _running(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when nothing more comes in."""
    process = subprocess.Popen(  # noqa: S603 - of our own
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.communicate(timeout=60)
