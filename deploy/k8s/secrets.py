"""`python -m deploy.k8s.secrets`: every Secret of a cluster that has nothing yet, made by chance, as one file."""

from secrets import token_urlsafe
from typing import Annotated, Any

import typer
import yaml

from deploy.k8s.check.code import fields_of, is_secret
from deploy.local.environment import Addresses, owner_url, process_environment
from deploy.local.secrets import Secrets
from deploy.nats import users as nats_users
from deploy.processes import PROCESSES
from deploy.redis import users as redis_users

NAMESPACE = "flownurture"
# Whom to sign in as stands beside how.
_BESIDE_SECRETS = {"SUPER_ADMIN_EMAIL"}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Database = Annotated[str, typer.Option(help="host:port of PostgreSQL.")]
Redis = Annotated[str, typer.Option(help="host:port of Redis.")]
Relay = Annotated[str, typer.Option(help="smtp://… of the relay.")]


@app.command()
def secrets(database: Database, redis: Redis, smtp: Relay) -> None:
    """Print the Secrets, fresh each time: keep what it prints, and apply it once. Keys that wrap others are lost with it."""
    made = Secrets.generate()
    contents = contents_of(made, _addresses(made, database, redis, smtp))
    typer.echo(yaml.safe_dump_all([_secret(name, data) for name, data in contents.items()], sort_keys=False))


def contents_of(secrets: Secrets, addresses: Addresses) -> dict[str, dict[str, str]]:
    """What is in each Secret, by its name."""
    admin_url = f"postgresql://postgres:{secrets.database_admin}@{addresses.database}/postgres"
    passwords = {f"PASSWORD_{role.upper()}": password for role, password in secrets.database_roles.items()}
    return {
        **{f"{process}-secrets": _of_process(process, addresses, secrets) for process in PROCESSES},
        **{
            f"{schema}-owner": {"DATABASE_OWNER_URL": owner_url(schema, addresses, secrets)}
            for schema in secrets.key_encryption_keys
        },
        "database-admin": {"DATABASE_ADMIN_URL": admin_url},
        "database-roles": passwords,
        # Its role is made by hand, with this password: it sees everything (docs/backup.md).
        "backup-secrets": {
            "DATABASE_ADMIN_URL": f"postgresql://backup:{token_urlsafe(18)}@{addresses.database}/postgres"
        },
        "postgresql-superuser": {"username": "postgres", "password": secrets.database_admin},
        "nats-admin": {"NATS_ADMIN_PASSWORD": secrets.nats_users[nats_users.ADMIN]},
        "nats-users": {"users.conf": nats_users.render_users(secrets.bus_passwords())},
        "redis-users": {"users.acl": redis_users.render_users(secrets.cache_passwords())},
    }


def _of_process(process: str, addresses: Addresses, secrets: Secrets) -> dict[str, str]:
    told = process_environment(process, addresses, secrets)
    return {
        name: value
        for name, value in told.items()
        if is_secret(name, fields_of(process)[name]) or name in _BESIDE_SECRETS
    }


def _addresses(secrets: Secrets, database: str, redis: str, smtp: str) -> Addresses:
    # Where everything else is stands in ConfigMaps.
    elsewhere = dict.fromkeys(PROCESSES, "")
    return Addresses(
        database=database,
        nats_url="",
        redis_urls={
            user: f"redis://{user}:{password.reveal()}@{redis}"
            for user, password in secrets.cache_passwords().items()
        },
        smtp_url=smtp,
        public_url="",
        feedback_smtp="",
        nameserver="",
        journals="",
        listen=elsewhere,
        side=elsewhere,
    )


def _secret(name: str, data: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/part-of": NAMESPACE}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


if __name__ == "__main__":
    app()
