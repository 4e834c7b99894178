"""Keys that wrap, vaults that share them as processes do, and organizations of the chassis' own schema."""

from base64 import b64encode
from os import urandom

import pytest

from chassis.secret import Secret
from chassis.tests.conftest import context, database, probe, scheduler_database
from chassis.tests.probe import Probe
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.vault import Vault

__all__ = ["context", "database", "probe", "scheduler_database"]


def key_encryption_key() -> Secret:
    return Secret(b64encode(urandom(32)).decode())


@pytest.fixture
def wrapping() -> FileWrapping:
    return FileWrapping({"one": key_encryption_key()})


@pytest.fixture
def vault(probe: Probe, wrapping: FileWrapping) -> Vault:
    return Vault(probe.schema, wrapping)
