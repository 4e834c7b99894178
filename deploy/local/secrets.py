"""Every secret of a house: made once, and as old as its data."""

import json
import os
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_bytes, token_urlsafe
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chassis.secret import Secret
from deploy.database.roles import role_list
from deploy.nats.topology import topology
from deploy.nats.users import ADMIN
from deploy.redis.users import user_names

_KEY_BYTES = 32


def _key() -> str:
    return b64encode(token_bytes(_KEY_BYTES)).decode()


def _completed(fresh: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """What is known, and what is fresh where nothing is; so within each set of them, which grows with roles and processes."""
    return {
        name: _completed(value, known.get(name, {})) if isinstance(value, dict) else known.get(name, value)
        for name, value in fresh.items()
    }


@dataclass(frozen=True, slots=True)
class Secrets:
    """Passwords by role and user, keys by process or schema; keys are 32 bytes in base64."""

    database_admin: str
    database_roles: dict[str, str]
    nats_users: dict[str, str]
    redis_users: dict[str, str]
    stamp_keys: dict[str, str]
    jwt_key: str
    link_key: str
    sealing_key: str
    mail_sealing_key: str
    webhooks_sealing_key: str
    key_encryption_keys: dict[str, str]
    authorization_state_key: str
    mail_key_encryption_key: str
    sealed_mail_key: str
    super_admin_password: str

    @classmethod
    def generate(cls) -> Self:
        """Fresh ones."""
        processes = ("gateway", *topology().processes)
        return cls(
            database_admin=token_urlsafe(18),
            database_roles={role.name: token_urlsafe(18) for role in role_list().roles},
            nats_users={user: token_urlsafe(18) for user in (ADMIN, *topology().processes)},
            redis_users={user: token_urlsafe(18) for user in user_names()},
            stamp_keys={process: _key() for process in processes},
            jwt_key=_key(),
            link_key=_key(),
            sealing_key=_key(),
            mail_sealing_key=_key(),
            webhooks_sealing_key=_key(),
            key_encryption_keys={schema: _key() for schema in role_list().schemas},
            authorization_state_key=_key(),
            mail_key_encryption_key=_key(),
            sealed_mail_key=_key(),
            super_admin_password=token_urlsafe(12),
        )

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Those of a file that only its owner reads; what the file lacks, or all if there is none, is made with it."""
        known = json.loads(path.read_text()) if path.exists() else {}
        secrets = cls(**_completed(asdict(cls.generate()), known))
        if asdict(secrets) == known:
            return secrets
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(secrets), file, indent=2)
        unfinished.replace(path)
        return secrets

    def role_passwords(self) -> dict[str, Secret]:
        """The password of each database role."""
        return {role: Secret(password) for role, password in self.database_roles.items()}

    def bus_passwords(self) -> dict[str, Secret]:
        """The password of each user of the event bus."""
        return {user: Secret(password) for user, password in self.nats_users.items()}

    def cache_passwords(self) -> dict[str, Secret]:
        """The password of each user of Redis."""
        return {user: Secret(password) for user, password in self.redis_users.items()}

    def trusted_keys(self) -> dict[str, str]:
        """The public half of each process' stamp key."""
        return {process: _public(key) for process, key in self.stamp_keys.items()}


def _public(private: str) -> str:
    key = Ed25519PrivateKey.from_private_bytes(b64decode(private)).public_key()
    return b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
