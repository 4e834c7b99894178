"""A process is told what it needs by its environment, and says in a line what is missing or wrong."""

import json
from typing import Any

import pytest
from pydantic import Field, ValidationError

from chassis.secret import Secret
from chassis.settings import DatabaseSettings, EventsSettings, ProcessSettings, load
from chassis.tests.wire import TRUSTED, private_key

ENVIRONMENT = {
    "LISTEN": "127.0.0.1:9100",
    "METRICS_LISTEN": "[::1]:9101",
    "STAMP_PRIVATE_KEY": private_key("gateway").reveal(),
    "STAMP_TRUSTED_KEYS": json.dumps(TRUSTED),
    "DATABASE_URL": "postgresql://contacts_app:hunter2@127.0.0.1/flownurture",
    "DATABASE_RELAY_URL": "postgresql://contacts_relay:hunter2@127.0.0.1/flownurture",
    "DATABASE_SCHEDULER_URL": "postgresql://contacts_scheduler:hunter2@127.0.0.1/flownurture",
    "NATS_URL": "nats://127.0.0.1:4222",
    "NATS_USER": "contacts",
    "NATS_PASSWORD": "hunter2",
}


class ProbeSettings(ProcessSettings, DatabaseSettings, EventsSettings):
    """A process with everything, and a variable of its own."""

    batch: int = Field(100, description="how many at once")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_settings_are_read_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    settings = load(ProbeSettings)
    assert settings.listen == "127.0.0.1:9100"
    assert settings.stamp_trusted_keys == TRUSTED
    assert settings.database_url == Secret(ENVIRONMENT["DATABASE_URL"])
    assert settings.otlp_endpoint is None
    assert settings.log_level == "INFO"


def test_settings_can_be_made_from_the_same_text_without_an_environment() -> None:
    fields: dict[str, Any] = {name.lower(): value for name, value in ENVIRONMENT.items()}
    assert ProbeSettings(**fields).stamp_trusted_keys == TRUSTED


def test_settings_never_show_a_secret(environment: pytest.MonkeyPatch) -> None:
    settings = load(ProbeSettings)
    assert "hunter2" not in repr(settings) + str(settings.model_dump()) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("DATABASE_URL", None, "is not set"),
        ("NATS_PASSWORD", "", "is not set"),
        ("LISTEN", "hunter2", "must be host:port"),
        ("LISTEN", "hunter2:99999", "must be host:port"),
        ("STAMP_PRIVATE_KEY", "hunter2", "must be 32 random bytes in base64"),
        ("STAMP_TRUSTED_KEYS", '{"gateway": "hunter2"}', "must be 32 bytes in base64"),
        ("STAMP_TRUSTED_KEYS", '{"gateway": "hunter2"}', "STAMP_TRUSTED_KEYS (gateway)"),
        ("STAMP_TRUSTED_KEYS", "hunter2", "JSON"),
        ("LOG_LEVEL", "hunter2", "'DEBUG'"),
        ("BATCH", "hunter2", "integer"),
    ],
)
def test_a_wrong_variable_is_one_line_that_does_not_show_it(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str | None,
    problem: str,
) -> None:
    if value is None:
        environment.delenv(name)
    else:
        environment.setenv(name, value)
    with pytest.raises(SystemExit) as exit_:
        load(ProbeSettings)
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{name} ")
    assert problem in said
    assert "hunter2" not in said
    assert said.count("\n") == 1


def test_settings_do_not_change(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError):
        load(ProbeSettings).listen = "127.0.0.1:1"
