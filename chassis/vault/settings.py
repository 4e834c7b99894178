"""Who keeps the key-encryption keys: told by the environment."""

from typing import Annotated, Literal

from pydantic import Field, Json

from chassis.settings import EnvironmentSettings, PrivateKey
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.wrapping import Wrapping


class VaultSettings(EnvironmentSettings):
    """What a process that stores secrets, or reads them again, needs."""

    key_encryption: Literal["file"] = Field(
        "file", description="who keeps the keys that wrap data keys: file, this process"
    )
    key_encryption_keys: Json[Annotated[dict[str, PrivateKey], Field(min_length=1)]] = Field(
        description="the keys that wrap data keys: JSON, name to 32 bytes in base64; the first one wraps"
    )


def wrapping_of(settings: VaultSettings) -> Wrapping:
    """The keeper that the settings name."""
    return FileWrapping(settings.key_encryption_keys)
