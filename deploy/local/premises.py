"""Where a house stands, and what it is built of: its folder, its ports, its secrets, its own servers or others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from chassis.secret import Secret
from deploy.local.environment import Addresses
from deploy.local.opening import python_path
from deploy.local.ports import HOST, Ports, choose, require_free
from deploy.local.secrets import Secrets
from deploy.local.servers.nats import Nats
from deploy.local.servers.postgres import Postgres
from deploy.local.servers.redis import Redis
from deploy.local.state import StateFolder
from deploy.nats.users import ADMIN, render_users
from deploy.processes import PROCESSES
from deploy.redis import users as redis_users

# What a process may see of the environment of `up`: the rest of what it is told is made here.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LOG_LEVEL", "OTLP_ENDPOINT")
# And one process: there are secrets in it.
_PASSED_ON_TO = {"integrations": ("CRMS", "AI_BASE_URL", "AI_API_KEY", "AI_MODEL")}
# glibc gives each thread that allocates an arena of its own; what is freed in it stays with the process.
_FRUGAL = {"MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True)
class Premises:
    """Where this house stands: its folder, its ports, and the variables that replace parts of it."""

    state: StateFolder
    ports: Ports
    variables: Mapping[str, str]

    @classmethod
    def chosen(cls, state: StateFolder, variables: Mapping[str, str]) -> "Premises":
        """Choose the ports. Raises PortTaken or PortInvalid."""
        ports = choose(variables, state.ports)
        replaced = {"postgres": "DATABASE_URL", "nats": "NATS_URL", "redis": "REDIS_URL"}
        require_free(ports, unused=[name for name, variable in replaced.items() if variables.get(variable)])
        return cls(state, ports, variables)

    @cached_property
    def secrets(self) -> Secrets:
        """The secrets of this house."""
        return Secrets.load_or_create(self.state.secrets)

    @property
    def has_own_bus(self) -> bool:
        """Whether the event bus is ours, and with it its users."""
        return not self.variables.get("NATS_URL")

    @property
    def postgres(self) -> Postgres:
        """Our own PostgreSQL."""
        password = Secret(self.secrets.database_admin)
        state = self.state
        return Postgres(state.root / "postgres", self.ports.postgres, state.log("postgres"), password)

    @property
    def nats(self) -> Nats:
        """Our own event bus."""
        users = render_users(self.secrets.bus_passwords())
        return Nats(self.state.root / "nats", self.ports.nats, self.state.log("nats"), users)

    @property
    def redis(self) -> Redis:
        """Our own Redis."""
        users = redis_users.render_users(self.secrets.cache_passwords())
        return Redis(self.state.root / "redis", self.ports.redis, self.state.log("redis"), users)

    @property
    def admin_url(self) -> Secret:
        """PostgreSQL, as its administrator."""
        given = self.variables.get("DATABASE_URL")
        return Secret(given) if given else self.postgres.admin_url

    @property
    def bus_admin_url(self) -> str:
        """The event bus, as its administrator."""
        password = self.secrets.nats_users[ADMIN]
        return self.variables.get("NATS_URL") or f"nats://{ADMIN}:{password}@{HOST}:{self.ports.nats}"

    @property
    def gateway_url(self) -> str:
        """The API."""
        return f"http://{HOST}:{self.ports.gateway}"

    @property
    def mail_url(self) -> str:
        """The inbox."""
        return f"http://{HOST}:{self.ports.mail}"

    @property
    def nameserver_url(self) -> str:
        """Where DNS records are published."""
        return f"http://{HOST}:{self.ports.nameserver_http}"

    @property
    def addresses(self) -> Addresses:
        """What processes are told about where everything is."""
        database = urlsplit(self.admin_url.reveal())
        listen = {name: f"{HOST}:{self.ports.serving(index)}" for index, name in enumerate(PROCESSES)}
        return Addresses(
            database=f"{database.hostname}:{database.port or 5432}",
            nats_url=self.variables.get("NATS_URL") or self.nats.url,
            redis_urls=self._redis_urls,
            smtp_url=self.variables.get("SMTP_URL") or f"smtp://{HOST}:{self.ports.smtp}",
            public_url=self.gateway_url,
            feedback_smtp=f"{HOST}:{self.ports.feedback}",
            nameserver=self.variables.get("DNS_RESOLVER") or f"{HOST}:{self.ports.nameserver}",
            journals=str(self.state.root / "journals"),
            listen=listen | {"gateway": f"{HOST}:{self.ports.gateway}"},
            side={name: f"{HOST}:{self.ports.side(index)}" for index, name in enumerate(PROCESSES)},
        )

    @property
    def passed_on(self) -> dict[str, str]:
        """The part of our own environment that every program gets."""
        return self._ours(_PASSED_ON) | _FRUGAL | {"PYTHONPATH": python_path()}

    def passed_on_to(self, process: str) -> dict[str, str]:
        """The part that a process gets."""
        return self.passed_on | self._ours(_PASSED_ON_TO.get(process, ()))

    @property
    def _redis_urls(self) -> dict[str, str]:
        # A Redis of somebody else's has its own users; its URL says which one to be.
        if given := self.variables.get("REDIS_URL"):
            return dict.fromkeys(redis_users.user_names(), given)
        passwords = self.secrets.cache_passwords()
        return {user: self.redis.url_for(user, password) for user, password in passwords.items()}

    def _ours(self, names: Sequence[str]) -> dict[str, str]:
        return {name: self.variables[name] for name in names if self.variables.get(name)}
