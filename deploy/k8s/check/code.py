"""What the code says of the platform: the processes, what each reads, whom each calls, and what each serves."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo

from chassis.secret import Secret
from deploy.database.roles import role_list
from deploy.nats.topology import topology
from deploy.processes import settings_of

_TARGET, _TARGETS = "_target", "_targets"
# Public, but who may change them can speak for every process.
_KEPT_LIKE_SECRETS = {"stamp_trusted_keys"}
# The way out that a process needs by what it reads.
_WAYS_OUT = (
    ("database_", "postgresql"),
    ("nats_url", "nats"),
    ("redis_url", "redis"),
    ("smtp_url", "smtp"),
    # Endpoints of customers, CRMs and language models, and the topics of a provider that has to be visited.
    ("webhook_ports", "https"),
    ("crms", "https"),
    ("ses_topic_arns", "https"),
)
# What a process listens by, the name of that port, and the paths that it answers there of itself.
LISTENS = {"listen": "grpc", "metrics_listen": "metrics", "smtp_listen": "smtp"}
ANSWERS = {"metrics": {"/healthz", "/readyz", "/metrics"}, "http": {"/healthz", "/readyz"}}


@cache
def fields_of(process: str) -> dict[str, FieldInfo]:
    """What a process reads of its environment, by the name of the variable."""
    return {name.upper(): field for name, field in settings_of(process).model_fields.items()}


@cache
def calls_of(process: str) -> frozenset[str]:
    """The processes that a process calls."""
    names = settings_of(process).model_fields
    called = {name.removesuffix(_TARGET) for name in names if name.endswith(_TARGET)}
    if any(name.endswith(_TARGETS) for name in names):
        called |= readers()
    return frozenset(called)


@cache
def readers() -> frozenset[str]:
    """The processes that read events, and so may have some parked."""
    return frozenset(reader for stream in topology().streams for reader in stream.readers)


@cache
def ways_out_of(process: str) -> frozenset[str]:
    """Where a process reaches out of the platform."""
    names = settings_of(process).model_fields
    return frozenset(way for prefix, way in _WAYS_OUT if any(name.startswith(prefix) for name in names))


def seals(process: str) -> bool:
    """Whether a process may be told to have a key service wrap its keys, which then it reaches."""
    return "key_encryption" in settings_of(process).model_fields


@cache
def ports_of(process: str) -> dict[str, str]:
    """The variables by which a process listens, each with the name of its port."""
    names = settings_of(process).model_fields
    ports = {name.upper(): port for name, port in LISTENS.items() if name in names}
    return ports | {"LISTEN": "http"} if process == "gateway" else ports


def is_secret(variable: str, field: FieldInfo) -> bool:
    """Whether what a variable holds must not be seen, or changed, by who may see the manifests."""
    return variable.lower() in _KEPT_LIKE_SECRETS or _holds(field.annotation, Secret)


def is_file(field: FieldInfo) -> bool:
    """Whether a variable names a file or a folder, which then has to be there."""
    return _holds(field.annotation, Path)


def _holds(annotation: Any, wanted: type) -> bool:
    if annotation is wanted:
        return True
    within = [field.annotation for field in getattr(annotation, "model_fields", {}).values()]
    return any(_holds(part, wanted) for part in (*get_args(annotation), *within))


def migrated_schemas() -> Iterator[str]:
    """The schemas that have migrations."""
    for schema in role_list().schemas:
        if files(f"services.{schema}").joinpath("migrations").is_dir():
            yield schema


def role_passwords() -> set[str]:
    """The variables that the bootstrap of the database reads, beside the administrator's."""
    return {f"PASSWORD_{role.name.upper()}" for role in role_list().roles}
