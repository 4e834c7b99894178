"""`python -m deploy.images.prepare`: what must be true before processes start, made so by the images' own commands."""

import os

from deploy.database.roles import role_list
from deploy.images.catalog import OPERATOR, reference
from deploy.images.engine import Engine, EngineFailed
from deploy.images.house import engine_and_tag
from deploy.local.environment import owner_url
from deploy.local.ports import Ports
from deploy.local.premises import Premises
from deploy.local.state import StateFolder, read_json
from deploy.nats.users import ADMIN


def prepare(premises: Premises, engine: Engine, tag: str) -> None:
    """Make database, roles, schemas, streams and readers, as Jobs in a cluster do. Raises EngineFailed."""
    secrets = premises.secrets
    operator = reference(OPERATOR, tag)
    passwords = {f"PASSWORD_{role.upper()}": password for role, password in secrets.database_roles.items()}
    administrator = {"DATABASE_ADMIN_URL": premises.admin_url.reveal()}
    engine.run(operator, ("deploy.database", "bootstrap"), administrator | passwords)
    for schema in role_list().schemas:
        owner = {"DATABASE_OWNER_URL": owner_url(schema, premises.addresses, secrets)}
        engine.run(reference(schema, tag), (f"services.{schema}", "migrate"), owner)
    bus = {"NATS_URL": premises.addresses.nats_url}
    if premises.has_own_bus:
        bus["NATS_ADMIN_PASSWORD"] = secrets.nats_users[ADMIN]
    engine.run(operator, ("deploy.nats", "provision"), bus)


def main() -> None:
    """Prepare the servers of the house that is being opened in this folder."""
    state = StateFolder.of(os.environ)
    premises = Premises(state, Ports(**read_json(state.ports)), os.environ)
    try:
        prepare(premises, *engine_and_tag())
    except EngineFailed as failure:
        raise SystemExit(str(failure)) from None


if __name__ == "__main__":
    main()
