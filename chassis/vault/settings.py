"""Who keeps the key-encryption keys: told by the environment."""

from typing import Annotated, Any, Literal

from pydantic import Field, Json, ValidationInfo, field_validator

from chassis.sealing import Sealer
from chassis.secret import Secret
from chassis.settings import EnvironmentSettings, PrivateKey
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.succession import Succession
from chassis.vault.wrapping import Wrapping

# Which variables each keeper cannot do without.
_NEEDED_BY = {
    "key_encryption_keys": "file",
    "kms_key_id": "aws-kms",
    "transit_url": "vault-transit",
    "transit_key": "vault-transit",
    "mail_key_encryption_keys": "file",
    "mail_kms_key_id": "aws-kms",
    "mail_transit_key": "vault-transit",
}

Keys = Annotated[dict[str, PrivateKey], Field(min_length=1)]


class KeeperSettings(EnvironmentSettings):
    """Who keeps key-encryption keys, and how it is reached."""

    key_encryption: Literal["file", "aws-kms", "vault-transit"] = Field(
        "file",
        description="who keeps the keys that wrap data keys: file (the process), aws-kms, vault-transit",
    )
    transit_url: str | None = Field(
        None, validate_default=True, description="https://host:port of the Vault of vault-transit"
    )
    transit_mount: str = Field("transit", description="the path of vault-transit's engine")
    transit_token: Secret | None = Field(
        None, description="the token for vault-transit; none where an agent adds it"
    )

    @field_validator(*_NEEDED_BY, check_fields=False)
    @classmethod
    def _is_set_where_needed(cls, value: Any, info: ValidationInfo) -> Any:
        keeper = info.data.get("key_encryption")
        if value is None and _NEEDED_BY[str(info.field_name)] == keeper:
            raise ValueError(f"is not set, and KEY_ENCRYPTION is {keeper}")
        return value


class VaultSettings(KeeperSettings):
    """What a process that stores secrets, or reads them again, needs."""

    key_encryption_keys: Json[Keys] | None = Field(
        None,
        validate_default=True,
        description="the keys of file: JSON, name to 32 bytes in base64; the first one wraps. With another keeper they "
        "still open what they have wrapped",
    )
    kms_key_id: str | None = Field(
        None, validate_default=True, description="the key of aws-kms: its id, ARN or alias"
    )
    transit_key: str | None = Field(
        None, validate_default=True, description="the name of the key of vault-transit"
    )


class SealedMailSettings(KeeperSettings):
    """What a process that writes mails with links that let their holders in, or hands them over, needs: a key for nothing else."""

    mail_key_encryption_keys: Json[Keys] | None = Field(
        None,
        validate_default=True,
        description="as KEY_ENCRYPTION_KEYS, for mails that are sealed until they are handed over; the same for all that "
        "write them or hand them over",
    )
    mail_kms_key_id: str | None = Field(
        None, validate_default=True, description="the key of aws-kms for such mails"
    )
    mail_transit_key: str | None = Field(
        None, validate_default=True, description="the name of the key of vault-transit for such mails"
    )


class FormerlySealedSettings(VaultSettings):
    """What a process needs whose schema kept secrets before it had data keys."""

    sealing_keys: Json[Keys] | None = Field(
        None,
        description="the keys of what was sealed before there were data keys and envelopes: JSON, key id to 32 bytes in "
        "base64; of no use any more once rotate-data-keys and rewrap-keys have run",
    )


def former_sealer(schema: str, settings: FormerlySealedSettings) -> Sealer | None:
    """Who opens what the schema sealed before, as long as the keys for it are there."""
    return Sealer(schema, settings.sealing_keys) if settings.sealing_keys else None


def wrapping_of(settings: VaultSettings) -> Wrapping:
    """The keeper that the settings name, with the key for what is stored."""
    return _wrapping(settings, settings.key_encryption_keys, settings.kms_key_id, settings.transit_key)


def mail_wrapping_of(settings: SealedMailSettings) -> Wrapping:
    """The same keeper, with the key for sealed mails."""
    return _wrapping(
        settings, settings.mail_key_encryption_keys, settings.mail_kms_key_id, settings.mail_transit_key
    )


def _wrapping(
    settings: KeeperSettings, keys: dict[str, Secret] | None, kms_key: str | None, transit_key: str | None
) -> Wrapping:
    own = FileWrapping(keys) if keys else None
    if settings.key_encryption == "file" and own is not None:
        return own
    service = _service_of(settings, kms_key, transit_key)
    return service if own is None else Succession(service, own)


def _service_of(settings: KeeperSettings, kms_key: str | None, transit_key: str | None) -> Wrapping:
    # Each needs a library that only those have who chose it.
    if settings.key_encryption == "aws-kms":
        from chassis.vault.aws_kms import AwsKms  # noqa: PLC0415

        return AwsKms(str(kms_key))
    from chassis.vault.vault_transit import VaultTransit  # noqa: PLC0415

    return VaultTransit(
        str(settings.transit_url),
        str(transit_key),
        mount=settings.transit_mount,
        token=settings.transit_token,
    )
