"""What each process is told: the complete environment of every one of them, from addresses and secrets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from deploy.database.bootstrap import DATABASE
from deploy.local.secrets import Secrets
from deploy.nats.topology import topology
from deploy.processes import PROCESSES, service_of

# Those that read events, and so may have to give one up.
READERS = sorted({reader for stream in topology().streams for reader in stream.readers})
# The one that publishes nothing itself: what it writes, others carry to the event bus.
_WITHOUT_BUS = "feedback"
# Those that seal what they store, or open it.
_SEALING = {"delivery", "identity", "integrations", "sending", "webhooks"}
SUPER_ADMIN_EMAIL = "admin@flownurture.test"
ACCOUNT_MAIL_FROM = "hello@accounts.flownurture.test"
MAIL_HOSTNAME = "mail.flownurture.test"
SPF_HOST = "spf.flownurture.test"
SHARED_DOMAIN = "flownurture.test"
_JWT_ISSUER = "https://identity.flownurture.test"
_JWT_AUDIENCE = "https://api.flownurture.test"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything is. `database` is host:port; `listen` and `side` are host:port by process, `journals` is a folder.

    `redis_urls` has the URL of each user of Redis, with what it signs in by.
    """

    database: str
    nats_url: str
    redis_urls: Mapping[str, str]
    smtp_url: str
    public_url: str
    feedback_smtp: str
    nameserver: str
    journals: str
    listen: Mapping[str, str]
    side: Mapping[str, str]


def process_environment(process: str, addresses: Addresses, secrets: Secrets) -> dict[str, str]:
    """The environment variables of a process, by name. Raises KeyError for a process that does not exist."""
    environment = {
        "LISTEN": addresses.listen[process],
        "METRICS_LISTEN": addresses.side[process],
        "STAMP_PRIVATE_KEY": secrets.stamp_keys[process],
        "STAMP_TRUSTED_KEYS": json.dumps(secrets.trusted_keys()),
    }
    if process != "gateway":
        environment |= _database(process, addresses, secrets)
    if process not in ("gateway", _WITHOUT_BUS):
        environment |= _bus(process, addresses, secrets)
    if process in addresses.redis_urls:
        environment["REDIS_URL"] = addresses.redis_urls[process]
    if process in _SEALING:
        key = secrets.key_encryption_keys[service_of(process)]
        environment["KEY_ENCRYPTION_KEYS"] = json.dumps({"local-1": key})
    return environment | _own(process, addresses, secrets)


def owner_url(schema: str, addresses: Addresses, secrets: Secrets) -> str:
    """As whom a schema is migrated."""
    return _role_url(f"{schema}_owner", addresses, secrets)


def _database(process: str, addresses: Addresses, secrets: Secrets) -> dict[str, str]:
    # The processes of one service share its schema. Who owns it is for migrations alone to know.
    schema = service_of(process)
    return {
        "DATABASE_URL": _role_url(f"{schema}_app", addresses, secrets),
        "DATABASE_RELAY_URL": _role_url(f"{schema}_relay", addresses, secrets),
        "DATABASE_SCHEDULER_URL": _role_url(f"{schema}_scheduler", addresses, secrets),
    }


def _role_url(role: str, addresses: Addresses, secrets: Secrets) -> str:
    return f"postgresql://{role}:{secrets.database_roles[role]}@{addresses.database}/{DATABASE}"


def _bus(process: str, addresses: Addresses, secrets: Secrets) -> dict[str, str]:
    # A bus of somebody else's has its own users; its URL says which one to be.
    given = urlsplit(addresses.nats_url)
    return {
        "NATS_URL": addresses.nats_url,
        "NATS_USER": unquote(given.username) if given.username else process,
        "NATS_PASSWORD": unquote(given.password) if given.password else secrets.nats_users[process],
    }


def _own(process: str, addresses: Addresses, secrets: Secrets) -> dict[str, str]:
    tokens = {"JWT_ISSUER": _JWT_ISSUER, "JWT_AUDIENCE": _JWT_AUDIENCE}
    public = {"PUBLIC_URL": addresses.public_url}
    links = {"LINK_KEYS": json.dumps([secrets.link_key])}
    domains = {
        "SHARED_DOMAIN": SHARED_DOMAIN,
        "SEALING_KEYS": json.dumps({"local-1": secrets.mail_sealing_key}),
    }
    sealed_mail = {"MAIL_KEY_ENCRYPTION_KEYS": json.dumps({"local-1": secrets.mail_key_encryption_key})}
    own: dict[str, dict[str, str]] = {
        "gateway": tokens
        | public
        | {f"{other.upper()}_TARGET": addresses.listen[other] for other in PROCESSES if other != process},
        "identity": tokens
        | public
        | sealed_mail
        | {
            "DATABASE_LOOKUP_URL": _role_url("identity_lookup", addresses, secrets),
            "DATABASE_PLATFORM_URL": _role_url("identity_platform", addresses, secrets),
            "CONTACTS_TARGET": addresses.listen["contacts"],
            "SENDING_TARGET": addresses.listen["sending"],
            "WEBHOOKS_TARGET": addresses.listen["webhooks"],
            "INTEGRATIONS_TARGET": addresses.listen["integrations"],
            "DEAD_LETTER_TARGETS": json.dumps({reader: addresses.listen[reader] for reader in READERS}),
            "SEALING_KEYS": json.dumps({"local-1": secrets.sealing_key}),
            "JWT_PRIVATE_KEYS": json.dumps({"local-1": secrets.jwt_key}),
            "SUPER_ADMIN_EMAIL": SUPER_ADMIN_EMAIL,
            "SUPER_ADMIN_PASSWORD": secrets.super_admin_password,
        },
        "contacts": links
        | public
        | sealed_mail
        | {
            "DATABASE_LOOKUP_URL": _role_url("contacts_lookup", addresses, secrets),
            "IDENTITY_TARGET": addresses.listen["identity"],
        },
        "sending": links
        | public
        | domains
        | {
            "DATABASE_ERASURE_URL": _role_url("sending_erasure", addresses, secrets),
            "CONTACTS_TARGET": addresses.listen["contacts"],
            "IDENTITY_TARGET": addresses.listen["identity"],
            "WEBHOOKS_TARGET": addresses.listen["webhooks"],
            "ACCOUNT_MAIL_FROM": ACCOUNT_MAIL_FROM,
            "MAIL_HOSTNAME": MAIL_HOSTNAME,
            "SPF_HOST": SPF_HOST,
            "DNS_RESOLVER": addresses.nameserver,
        },
        "suppression": links
        | public
        | sealed_mail
        | {
            "DATABASE_CONSENT_URL": _role_url("sending_consent", addresses, secrets),
            "CONTACTS_TARGET": addresses.listen["contacts"],
            "IDENTITY_TARGET": addresses.listen["identity"],
        },
        "delivery": links
        | public
        | domains
        | sealed_mail
        | {
            "SEALED_MAIL_KEYS": json.dumps({"local-1": secrets.sealed_mail_key}),
            "SMTP_URL": addresses.smtp_url,
            "MAIL_HOSTNAME": MAIL_HOSTNAME,
            "JOURNAL_FOLDER": addresses.journals,
        },
        "feedback": links | {"SMTP_LISTEN": addresses.feedback_smtp},
        "workflows": {
            "CONTACTS_TARGET": addresses.listen["contacts"],
            "IDENTITY_TARGET": addresses.listen["identity"],
        },
        "webhooks": {
            "SEALING_KEYS": json.dumps({"local-1": secrets.webhooks_sealing_key}),
            # Receivers of one machine stand on it, without a certificate.
            "WEBHOOK_HTTPS_ONLY": "false",
            "WEBHOOK_PORTS": "80,443,1024-65535",
            "WEBHOOK_ALLOWED_RANGES": json.dumps(["127.0.0.0/8", "::1/128"]),
            "DNS_RESOLVER": addresses.nameserver,
        },
        "integrations": public
        | {
            "CONTACTS_TARGET": addresses.listen["contacts"],
            "SENDING_TARGET": addresses.listen["sending"],
            "SUPPRESSION_TARGET": addresses.listen["suppression"],
            "AUTHORIZATION_STATE_KEYS": json.dumps([secrets.authorization_state_key]),
            "IDENTITY_TARGET": addresses.listen["identity"],
        },
    }
    return own.get(process, {})
