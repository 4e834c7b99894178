"""Where mails are sent from: real servers, everything on disk before it counts, and the platform's processes beside them.

PostgreSQL and NATS run as `make up` runs them: with fsync, and with JetStream syncing each message before it acknowledges.
"""

import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
from psycopg.sql import SQL, Literal
from redis import Redis
from sqlalchemy import make_url

from bench.sending.ports import unused_port
from chassis.api_key import ApiKey
from chassis.context import PLATFORM, ActorKind, RequestContext, Role
from chassis.identifiers import new_id
from chassis.rpc.client import Peer
from chassis.sealing import Sealer
from chassis.secret import Secret
from chassis.stamp import Stamper
from deploy.database.bootstrap import DATABASE
from deploy.local.environment import SHARED_DOMAIN, Addresses, process_environment
from deploy.local.opening import python_path
from deploy.local.preparation import prepare
from deploy.local.probe import is_ready
from deploy.local.secrets import Secrets
from deploy.local.servers.nats import Nats
from deploy.local.servers.postgres import Postgres
from deploy.local.servers.program import HOST, Server, start, stop
from deploy.local.servers.redis import Redis as RedisServer
from deploy.local.servers.unprivileged import remove_outside
from deploy.nats.users import render_users
from deploy.processes import PROCESSES
from deploy.redis import users as redis_users
from flownurture.context.v1.context_pb2 import Actor
from flownurture.identity.v1.admission_pb2 import Grant
from services.sending.dkim_keys import Algorithm, KeyPair

SIGNED_DOMAIN = "signed.test"
PLAIN_DOMAIN = "plain.test"

_PATIENCE = 60.0  # seconds
_NO_LIMIT = 10_000_000
_MODULES = {
    "gateway": "gateway",
    "identity": "services.identity",
    "integrations": "services.integrations",
    "contacts": "services.contacts",
    "sending": "services.sending",
    "suppression": "services.sending.suppression",
    "delivery": "services.sending.delivery",
    "feedback": "services.sending.feedback",
    "workflows": "services.sending.workflows",
    "webhooks": "services.webhooks",
}
_ORGANIZATION = SQL("""
    INSERT INTO identity.organizations (organization_id, name, plan) VALUES ({organization}, 'Bench', 'enterprise');
    INSERT INTO contacts.custom_fields (organization_id, id, number, key, label, type) VALUES
        ({organization}, uuidv7(), 1, 'score', 'Score', 'number'), ({organization}, uuidv7(), 2, 'city', 'City', 'text')
""")
_AUDIENCE = SQL("""
    INSERT INTO contacts.lists (organization_id, id, name) VALUES ({organization}, {list_id}, {name});
    WITH made AS (
        INSERT INTO contacts.contacts
            (organization_id, id, email, email_digest, first_name, last_name, status, custom_fields)
        SELECT {organization}, uuidv7(), email, sha256(email::bytea), 'First' || n % 1000, 'Last' || n % 5000,
               'subscribed', jsonb_build_object('1', n % 100, '2', 'City ' || n % 200)
        FROM (SELECT n, {name} || n || '@example.com' AS email FROM generate_series(1, {size}) AS n) AS people
        RETURNING id
    )
    INSERT INTO contacts.memberships (organization_id, list_id, contact_id, source)
    SELECT {organization}, {list_id}, id, 'api' FROM made
""")
# The platform's domain without a key: what comes from a domain that nobody has verified is not signed then.
_DOMAINS = SQL("""
    INSERT INTO sending.domains (organization_id, id, name, status, verified_at, next_check_at)
    VALUES ({platform}, uuidv7(), {shared}, 'verified', now(), 'infinity');
    INSERT INTO sending.domains (organization_id, id, name, status, verified_at, next_check_at)
    VALUES ({organization}, {domain}, {signed}, 'verified', now(), 'infinity');
    INSERT INTO sending.dkim_keys
        (organization_id, id, domain_id, selector, algorithm, sealed_key, public_key, found_at)
    VALUES ({organization}, {key}, {domain}, 'bench', 'rsa', {sealed}, {public}, now())
""")


@dataclass
class Service:
    """A process of the platform, as `deploy.local.servers.program` starts one."""

    name: str
    environment: Mapping[str, str]
    log: Path
    ready_url: str

    def prepare(self) -> None:
        """It needs nothing."""

    def command(self) -> list[str]:
        """Serve."""
        return [sys.executable, "-m", _MODULES[self.name], "serve"]

    def popen_arguments(self) -> dict[str, object]:
        """With the little of this environment that `make up` passes on."""
        own = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        own |= {"PYTHONPATH": python_path(), "MALLOC_ARENA_MAX": "2", "LOG_LEVEL": "WARNING"}
        return {"env": own | dict(self.environment)}

    def answers(self) -> bool:
        """Whether it does its work."""
        return is_ready(self.ready_url)


@dataclass(frozen=True)
class Stage:
    """The servers, prepared, and one organization on the largest plan."""

    folder: Path
    addresses: Addresses
    secrets: Secrets
    admin_url: str
    context: RequestContext
    servers: Mapping[str, int]

    @contextmanager
    def platform(self, smtp_port: int, *, gateway: bool = False) -> Iterator["Platform"]:
        """All that sending takes, handing over to a relay; one delivery process is among it."""
        names = ["identity", "contacts", "sending", "suppression", "delivery"]
        with ExitStack() as stack:
            running = {name: [pid] for name, pid in self.servers.items()}
            platform = Platform(self, replace(self.addresses, smtp_url=f"smtp://{HOST}:{smtp_port}"), running)
            for name in [*names, "gateway"] if gateway else names:
                stack.enter_context(platform.running(name))
            yield platform

    def api_key(self) -> str:
        """A key of the organization's, whose grant lies in Redis as identity would have put it there, with a rate out of reach."""
        key_id = new_id()
        key = ApiKey.mint(key_id)
        grant = Grant(
            organization_id=str(self.context.organization),
            actor=Actor(kind=Actor.KIND_API_KEY, id=str(key_id)),
            scopes=["messages:read", "messages:write"],
            features=self.context.features,
            requests_per_minute=_NO_LIMIT,
            limits=dict(self.context.limits),
        )
        if self.context.cycle_started_at is not None:
            grant.cycle_started_at.FromDatetime(self.context.cycle_started_at)
        kept = {
            "grant": grant.SerializeToString(),
            "secret": ApiKey.parse(key).secret_digest,
            "requests_per_minute": grant.requests_per_minute,
        }
        with Redis.from_url(self.addresses.redis_urls[redis_users.ADMIN]) as client:
            client.hset(f"grant:key:{key_id}", mapping=kept)
        return key

    @asynccontextmanager
    async def peer(self, name: str) -> AsyncIterator[Peer]:
        """A process, called as the gateway calls it."""
        stamper = Stamper("gateway", Secret(self.secrets.stamp_keys["gateway"]))
        async with Peer(self.addresses.listen[name], name, stamper) as peer:
            yield peer

    def look(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """What a superuser sees."""
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            return connection.execute(query, parameters).fetchall()

    def add_audience(self, size: int) -> UUID:
        """A list of so many contacts who are in no other."""
        list_id = new_id()
        self.execute(_AUDIENCE, list_id=list_id, size=size, name=f"reader-{list_id.hex[-6:]}-")
        self.execute(SQL("ANALYZE contacts.contacts; ANALYZE contacts.memberships"))
        return list_id

    def prepare_organization(self) -> None:
        """Make the organization, and its domain whose mail is signed."""
        self.execute(_ORGANIZATION)
        key_id, pair = new_id(), KeyPair.generate(Algorithm.RSA)
        sealer = Sealer("sending", {"local-1": Secret(self.secrets.mail_sealing_key)})
        sealed = sealer.seal(pair.private_der, table="dkim_keys", row=key_id, column="sealed_key")
        self.execute(
            _DOMAINS,
            platform=PLATFORM,
            shared=SHARED_DOMAIN,
            domain=new_id(),
            signed=SIGNED_DOMAIN,
            key=key_id,
            sealed=sealed,
            public=pair.public,
        )

    def execute(self, statements: SQL, **values: object) -> None:
        """Do this as a superuser; `organization` is among the values."""
        literals = {name: Literal(value) for name, value in values.items()}
        literals["organization"] = Literal(self.context.organization)
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            for statement in statements.format(**literals).as_string(connection).split(";\n"):
                connection.execute(statement)


@dataclass(frozen=True)
class Platform:
    """The processes that run, by name; those of the servers are among them."""

    stage: Stage
    addresses: Addresses
    pids: dict[str, list[int]]

    @contextmanager
    def running(self, name: str) -> Iterator[int]:
        """One more process, until this is left; answers its pid."""
        environment = process_environment(name, self.addresses, self.stage.secrets)
        if name in self.pids:
            # Of what there is more than one of, only the first is called by others.
            environment |= {"LISTEN": f"{HOST}:{unused_port()}", "METRICS_LISTEN": f"{HOST}:{unused_port()}"}
        # The gateway says it where it serves, the others beside their RPCs.
        asked = environment["LISTEN" if name == "gateway" else "METRICS_LISTEN"]
        log = self.stage.folder / f"{name}.log"
        process = start(Service(name, environment, log, f"http://{asked}/readyz"), _PATIENCE)
        self.pids.setdefault(name, []).append(process.pid)
        try:
            yield process.pid
        finally:
            self.pids[name].remove(process.pid)
            stop(process, _PATIENCE)

    @contextmanager
    def held(self, *names: str) -> Iterator[None]:
        """Without what these processes take of the machine: they stand still until this is left."""
        pids = [pid for name in names for pid in self.pids[name]]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


@contextmanager
def stage(**settings: str) -> Iterator[Stage]:
    """Servers that end with this, and the organization; PostgreSQL with these settings over those of `make up`."""
    with (
        tempfile.TemporaryDirectory(prefix="flownurture-bench-", ignore_cleanup_errors=True) as name,
        ExitStack() as stack,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        stack.callback(remove_outside, folder)
        secrets = Secrets.generate()
        postgres = Postgres(
            folder / "postgres",
            unused_port(),
            folder / "postgres.log",
            Secret(secrets.database_admin),
            settings=settings,
        )
        nats = Nats(
            folder / "nats", unused_port(), folder / "nats.log", render_users(secrets.bus_passwords())
        )
        redis = RedisServer(
            folder / "redis",
            unused_port(),
            folder / "redis.log",
            redis_users.render_users(secrets.cache_passwords()),
        )
        pids = {}
        servers: dict[str, Server] = {"postgres": postgres, "nats": nats, "redis": redis}
        for kind, server in servers.items():
            process = start(server)
            stack.callback(stop, process)
            pids[kind] = process.pid
        addresses = Addresses(
            database=f"{HOST}:{postgres.port}",
            nats_url=nats.url,
            redis_urls={
                user: redis.url_for(user, password) for user, password in secrets.cache_passwords().items()
            },
            smtp_url=f"smtp://{HOST}:{unused_port()}",
            public_url="http://flownurture.test",
            feedback_smtp=f"{HOST}:{unused_port()}",
            nameserver=f"{HOST}:{unused_port()}",
            journals=str(folder / "journals"),
            listen={process: f"{HOST}:{unused_port()}" for process in PROCESSES},
            side={process: f"{HOST}:{unused_port()}" for process in PROCESSES},
        )
        prepare(postgres.admin_url, addresses, secrets, own_users=True)
        context = RequestContext(
            issuer="gateway",
            actor_kind=ActorKind.USER,
            actor_id=str(uuid4()),
            role=Role.ORG_ADMIN,
            organization_id=uuid4(),
            session_id=str(uuid4()),
            request_id=str(uuid4()),
            features=frozenset({"domain_authentication"}),
            limits=(("emails_per_cycle", 50_000_000), ("webhook_endpoints", 1_000), ("contacts", 5_000_000)),
            cycle_started_at=datetime.now(UTC),
        )
        admin_url = make_url(postgres.admin_url.reveal()).set(database=DATABASE)
        made = Stage(
            folder, addresses, secrets, admin_url.render_as_string(hide_password=False), context, pids
        )
        made.prepare_organization()
        yield made
