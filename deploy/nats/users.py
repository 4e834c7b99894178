"""The users of the event bus as nats-server reads them: each process may say and hear its own, and no more."""

import json
from collections.abc import Mapping

from chassis.secret import Secret
from deploy.nats.topology import topology

ADMIN = "admin"


def render_users(passwords: Mapping[str, Secret]) -> str:
    """The `authorization` part of a server's configuration. `passwords` has one for each process and for `admin`."""
    users = [_user(ADMIN, passwords[ADMIN], publish=[">"], subscribe=[">"])]
    users += [
        _user(
            process,
            passwords[process],
            publish=topology().may_publish(process),
            subscribe=topology().may_subscribe(process),
        )
        for process in topology().processes
    ]
    return "authorization {\n  users: [\n" + ",\n".join(users) + "\n  ]\n}"


def _user(name: str, password: Secret, *, publish: list[str], subscribe: list[str]) -> str:
    # JSON is a subset of the server's configuration language.
    return "    " + json.dumps(
        {
            "user": name,
            "password": password.reveal(),
            "permissions": {"publish": {"allow": publish}, "subscribe": {"allow": subscribe}},
        }
    )
