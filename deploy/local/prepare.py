"""`python -m deploy.local.prepare`: what the supervisor runs between servers and processes, in a process that ends.

So what migrations take of memory is given back before the processes start.
"""

import os

import nats.errors
import psycopg

from deploy.local.ports import Ports
from deploy.local.premises import Premises
from deploy.local.preparation import prepare
from deploy.local.state import StateFolder, read_json


def main() -> None:
    """Prepare the servers of the house that is being opened in this folder."""
    state = StateFolder.of(os.environ)
    premises = Premises(state, Ports(**read_json(state.ports)), os.environ)
    try:
        prepare(premises.admin_url, premises.addresses, premises.secrets, own_users=premises.has_own_bus)
    except psycopg.OperationalError as error:
        raise SystemExit(f"PostgreSQL cannot be used: {error}") from None
    except nats.errors.Error as error:
        raise SystemExit(f"NATS cannot be used: {error}") from None


if __name__ == "__main__":
    main()
