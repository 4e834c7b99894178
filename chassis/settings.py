"""What a process is told by its environment: one class a process, every variable with its meaning.

    class ContactsSettings(ProcessSettings, DatabaseSettings, EventsSettings):
        ...

Fields are the variables in lower case. Loading fails with a line for each variable that is missing or wrong.
"""

import binascii
import sys
from base64 import b64decode
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, Json, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.secret import Secret


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError("must be host:port")
    return value


def _is_key(value: str) -> str:
    try:
        raw = b64decode(value, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise ValueError("must be 32 bytes in base64")
    return value


def _private_key(value: Secret) -> Secret:
    try:
        _is_key(value.reveal())
    except ValueError:
        raw = b""
    else:
        raw = b64decode(value.reveal())
    # Of 32 random bytes at least 16 differ, but for once in 10^15 times.
    if len(set(raw)) < 16:
        raise ValueError("must be 32 random bytes in base64")
    return value


Address = Annotated[str, AfterValidator(_address)]
PublicKey = Annotated[str, AfterValidator(_is_key)]
PrivateKey = Annotated[Secret, AfterValidator(_private_key)]


class EnvironmentSettings(BaseSettings):
    """Read from the environment; an empty variable counts as absent, values never show in errors."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )


class ProcessSettings(EnvironmentSettings):
    """What every process needs."""

    listen: Address = Field(description="host:port on which the process serves")
    metrics_listen: Address = Field(description="host:port that answers /metrics, /healthz and /readyz")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="the least level that is logged: DEBUG, INFO, WARNING or ERROR"
    )
    otlp_endpoint: str | None = Field(
        None, description="where spans go, as http://host:port (OTLP over gRPC); without it none leaves"
    )
    stamp_private_key: PrivateKey = Field(
        description="the process' Ed25519 key for stamping its calls, 32 bytes in base64"
    )
    stamp_trusted_keys: Json[dict[str, PublicKey]] = Field(
        description="the Ed25519 keys whose stamps are believed: JSON, process name to 32 bytes in base64"
    )
    rpc_tls_certificate: Path | None = Field(
        None,
        description="the file with the process' certificate, in which its name stands as a DNS name; PEM",
    )
    rpc_tls_key: Path | None = Field(None, description="the file with that certificate's private key; PEM")
    rpc_tls_authorities: Path | None = Field(
        None,
        validate_default=True,
        description="the file with the authorities whose certificates other processes must have; PEM."
        " Without the three files calls go in plain text",
    )

    @field_validator("rpc_tls_authorities")
    @classmethod
    def _all_or_none(cls, authorities: Path | None, info: ValidationInfo) -> Path | None:
        # One that is wrong is told of by itself.
        files = [
            authorities,
            *(info.data.get(name, authorities) for name in ("rpc_tls_certificate", "rpc_tls_key")),
        ]
        if len({file is None for file in files}) > 1:
            raise ValueError("must be set with RPC_TLS_CERTIFICATE and RPC_TLS_KEY, or none of them")
        return authorities


class RelaySettings(EnvironmentSettings):
    """What an operator's command about events needs."""

    database_relay_url: Secret = Field(
        description="postgresql://…, the role that sees outbox and dead letters of all organizations"
    )


class DatabaseSettings(RelaySettings):
    """What a process with a database needs."""

    database_url: Secret = Field(
        description="postgresql://role:password@host:port/name, the role that row-level security binds"
    )
    database_scheduler_url: Secret = Field(
        description="postgresql://…, the role that sees what is due in all organizations"
    )


class MigrationSettings(EnvironmentSettings):
    """What `migrate` needs."""

    database_owner_url: Secret = Field(description="postgresql://…, the role that owns the schema")


class EventsSettings(EnvironmentSettings):
    """What a process that publishes or reads events needs."""

    nats_url: str = Field(
        description="nats://host:port of the event bus; tls:// where the server speaks TLS first (handshake_first)"
    )
    nats_user: str = Field(description="the process' user on the event bus, named like the process")
    nats_password: Secret = Field(description="that user's password")


Settings = TypeVar("Settings", bound=EnvironmentSettings)


def load(settings: type[Settings]) -> Settings:
    """Read the environment. For each variable that is wrong, a line on stderr; then the process exits with 2."""
    try:
        return settings()
    except ValidationError as wrong:
        for error in wrong.errors(include_input=False, include_url=False, include_context=False):
            field, *within = map(str, error["loc"])
            problem = (
                "is not set" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
            )
            meaning = settings.model_fields[field].description
            where = " ".join((field.upper(), *(f"({part})" for part in within)))
            print(f"{where} {problem}: {meaning}", file=sys.stderr)
        raise SystemExit(2) from None
