"""The roles of the database, with the passwords that `python -m deploy.database bootstrap` is given, too."""

import os
from urllib.parse import quote, urlsplit

from chassis.secret import Secret
from deploy.database.bootstrap import DATABASE
from deploy.database.roles import role_list
from operations.exit_codes import ExitCode
from operations.output import end


def passwords() -> dict[str, Secret]:
    """The password of each role. Ends the command when a variable is missing."""
    return {role.name: _password(role.name) for role in role_list().roles}


def role_url(server: Secret, role: str) -> Secret:
    """The platform's database as a role of it. Ends the command when its variable is missing."""
    parts = urlsplit(server.reveal())
    location = parts.netloc.rpartition("@")[2]
    user = f"{role}:{quote(_password(role).reveal(), safe='')}"
    return Secret(parts._replace(netloc=f"{user}@{location}", path=f"/{DATABASE}").geturl())


def _password(role: str) -> Secret:
    variable = f"PASSWORD_{role.upper()}"
    if not (password := os.environ.get(variable)):
        end(ExitCode.USAGE, f"{variable} is not set: the password of the database's role {role}.")
    return Secret(password)
