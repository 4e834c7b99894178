"""What must be true before processes start: database and roles, every schema at its head, streams and readers."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from chassis.migrations.runner import migrate
from chassis.secret import Secret
from deploy.database.bootstrap import bootstrap
from deploy.database.roles import role_list
from deploy.local.environment import Addresses, owner_url
from deploy.local.secrets import Secrets
from deploy.nats.provision import provision


def prepare_database(admin_url: Secret, addresses: Addresses, secrets: Secrets) -> None:
    """Make database and roles, and bring every schema to the head of its migrations."""
    bootstrap(admin_url, secrets.role_passwords())
    for schema in role_list().schemas:
        migrate(Secret(owner_url(schema, addresses, secrets)), f"services.{schema}")


def prepare_bus(addresses: Addresses, secrets: Secrets, *, own_users: bool) -> None:
    """Make streams and readers. Without `own_users` the URL carries who may."""
    asyncio.run(provision(addresses.nats_url, secrets.bus_passwords()["admin"] if own_users else None))


def prepare(admin_url: Secret, addresses: Addresses, secrets: Secrets, *, own_users: bool) -> None:
    """Both, side by side."""
    with ThreadPoolExecutor(2) as threads:
        database = threads.submit(prepare_database, admin_url, addresses, secrets)
        bus = threads.submit(prepare_bus, addresses, secrets, own_users=own_users)
        database.result()
        bus.result()
