"""Identity does not start with a key that is none: it says which one, and does not show it."""

import json
from base64 import b64encode
from os import urandom

import pytest

from chassis.settings import load
from services.identity.settings import IdentitySettings
from services.identity.tests.conftest import ServiceEnvironment

GOOD = b64encode(urandom(32)).decode()
MALFORMED = {
    "too short": b64encode(urandom(16)).decode(),
    "too long": b64encode(urandom(64)).decode(),
    "no base64": "correct horse battery staple, more than once",
    "base64url": "-_" * 21 + "-=",
    "empty": "",
    "the same byte again and again": b64encode(b"k" * 32).decode(),
}


@pytest.mark.parametrize("malformed", MALFORMED)
@pytest.mark.parametrize(
    "variable", ["JWT_PRIVATE_KEYS", "SEALING_KEYS", "MAIL_KEY_ENCRYPTION_KEYS", "KEY_ENCRYPTION_KEYS"]
)
def test_a_malformed_key_is_named_and_not_shown(
    service_environment: ServiceEnvironment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    malformed: str,
) -> None:
    keys = {"spring": GOOD, "summer": MALFORMED[malformed]}
    for name, value in (service_environment("identity") | {variable: json.dumps(keys)}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load(IdentitySettings)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith(f"{variable} (summer) must be 32 random bytes in base64")
    assert "spring" not in said
    assert GOOD not in said
    assert not MALFORMED[malformed] or MALFORMED[malformed] not in said


@pytest.mark.parametrize(
    "variable", ["JWT_PRIVATE_KEYS", "SEALING_KEYS", "MAIL_KEY_ENCRYPTION_KEYS", "KEY_ENCRYPTION_KEYS"]
)
@pytest.mark.parametrize(
    "value",
    ["{}", "[]", pytest.param(GOOD, id="a key alone"), '{"spring": 1}', "{"],
)
def test_without_a_key_identity_does_not_start(
    service_environment: ServiceEnvironment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
) -> None:
    for name, told in (service_environment("identity") | {variable: value}).items():
        monkeypatch.setenv(name, told)
    with pytest.raises(SystemExit):
        load(IdentitySettings)
    said = capsys.readouterr().err
    assert said.startswith(variable)
    assert GOOD not in said
