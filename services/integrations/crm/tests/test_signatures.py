import hmac
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from chassis.secret import Secret
from services.integrations.crm.signatures import is_hubspot

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SECRET = "the app's secret"
URL = "https://flownurture.example/hooks/hubspot?a=%2Fb"
BODY = b'[{"objectId":1,"propertyName":"caf\xc3\xa9"}]'


def stamp(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))


def signed(content: bytes) -> str:
    return b64encode(hmac.new(SECRET.encode(), content, sha256).digest()).decode()


GOOD: dict[str, Any] = {
    "method": "POST",
    "url": URL,
    "body": BODY,
    "signature": signed(b"POST" + URL.encode() + BODY + stamp(NOW).encode()),
    "timestamp": stamp(NOW),
    "now": NOW,
}


def test_what_hubspot_signed_is_believed() -> None:
    assert is_hubspot(Secret(SECRET), **GOOD)


def test_escapes_of_a_path_are_signed_as_what_they_stand_for() -> None:
    content = b"POSThttps://flownurture.example/a:b/c" + BODY + stamp(NOW).encode()
    asked = GOOD | {"url": "https://flownurture.example/a%3Ab%2fc", "signature": signed(content)}
    assert is_hubspot(Secret(SECRET), **asked)


@pytest.mark.parametrize(
    "other",
    [
        {"method": "PUT"},
        {"url": URL + "&c=d"},
        {"url": URL.replace("flownurture", "evil")},
        {"body": BODY + b" "},
        {"signature": ""},
        {"signature": "é"},
        {"signature": GOOD["signature"][:-4] + "AAA="},
        {"timestamp": stamp(NOW + timedelta(seconds=1))},
        {"timestamp": ""},
        {"timestamp": "-1"},
        {"timestamp": "9" * 400},
        {"timestamp": "soon"},
        {"now": NOW + timedelta(minutes=5, seconds=1)},
        {"now": NOW - timedelta(minutes=5, seconds=1)},
    ],
)
def test_what_differs_in_anything_or_is_old_is_not(other: dict[str, Any]) -> None:
    assert not is_hubspot(Secret(SECRET), **(GOOD | other))


def test_another_apps_signature_is_not_believed() -> None:
    assert not is_hubspot(Secret("another"), **GOOD)
