"""Log lines are JSON, say what they belong to, and never hold a secret."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.api_key import ApiKey
from chassis.derived_key import derive
from chassis.logs import redact
from chassis.secret import Secret

ROOT = Path(__file__).parents[2]
API_KEY = ApiKey.mint(uuid4())
DERIVED_KEY = derive(API_KEY, scopes=["contacts:read"])
SENTINEL = "s3ntinel-value"


def redacted(**event: Any) -> str:
    return repr(redact(None, "info", event))


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "new_password",
        "secret",
        "client_secret",
        "refresh_token",
        "Authorization",
        "api_key",
        "apikey",
    ],
)
def test_a_value_is_hidden_by_its_name(name: str) -> None:
    assert SENTINEL not in redacted(**{name: SENTINEL})
    assert SENTINEL not in redacted(headers={name: SENTINEL})
    assert SENTINEL not in redacted(requests=[{"body": {name: [SENTINEL]}}])


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"the key {API_KEY} was used", API_KEY),
        (f"the key {DERIVED_KEY} was used", DERIVED_KEY),
        (f"authorization: Bearer {SENTINEL}", SENTINEL),
        (f"bearer {SENTINEL}", SENTINEL),
        (f"cannot reach postgresql://contacts_app:{SENTINEL}@127.0.0.1:5432/flownurture", SENTINEL),
        (f"redis://:{SENTINEL}@127.0.0.1", SENTINEL),
    ],
    ids=["API key", "derived key", "bearer", "bearer in lower case", "database URL", "redis URL"],
)
def test_a_secret_is_hidden_wherever_it_stands_in_a_text(text: str, secret: str) -> None:
    for logged in (
        redacted(event=text),
        redacted(event="x", detail=[text]),
        redacted(error=ValueError(text)),
    ):
        assert secret not in logged
        assert "***" in logged


def test_a_secret_value_is_hidden_under_any_name() -> None:
    assert SENTINEL not in redacted(value=Secret(SENTINEL), values={"a": [Secret(SENTINEL)]})


@given(
    st.dictionaries(st.sampled_from(["rows", "email", "status"]), st.integers() | st.booleans() | st.none())
)
def test_what_is_no_secret_stays_as_it_is(event: dict[str, Any]) -> None:
    assert redact(None, "info", dict(event)) == event


PROGRAM = """
import logging
from uuid import UUID
from chassis import logs, tracing
from chassis.context import RequestContext

logs.configure("contacts", "INFO")
context = RequestContext.of_process("contacts", UUID(int=7), request_id="request-1")
with logs.about(context), tracing.span("work", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"):
    logs.logger().info("import_finished", rows=12, password="hunter2")
    logs.logger().debug("unheard")
    logging.getLogger("nats").warning("lost %s", "nats://contacts:hunter2@127.0.0.1:4222")
    try:
        raise RuntimeError("Bearer hunter2")
    except RuntimeError:
        logs.logger().exception("failed")
logs.logger().info("outside")
"""


def test_lines_of_this_process_and_of_its_libraries_have_one_form() -> None:
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}"}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout == ""
    assert "hunter2" not in ran.stderr
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [line["event"] for line in lines] == [
        "import_finished",
        "lost nats://***@127.0.0.1:4222",
        "failed",
        "outside",
    ]
    assert all(line["process"] == "contacts" and line["timestamp"].endswith("Z") for line in lines)
    for line in lines[:3]:
        assert line["request_id"] == "request-1"
        assert line["organization_id"] == "00000000-0000-0000-0000-000000000007"
        assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert lines[0]["rows"] == 12
    assert lines[1]["logger"] == "nats"
    assert "RuntimeError" in lines[2]["exception"]
    assert "request_id" not in lines[3]
