"""What docs/webhooks/ gives to receivers is right: the vectors are what is sent, and the examples decide on them as they say."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import Any

import pytest

from chassis.secret import Secret
from docs.webhooks.verify import RecentIds, verify
from services.webhooks.signing import key_of, new_secret, signature_headers

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs/webhooks"
VECTORS: dict[str, Any] = json.loads((DOCS / "vectors.json").read_text())
EXAMPLES = {
    "verify.py": ("python3",),
    "verify.mjs": ("node",),
    "verify.go": ("go", "run"),
    "verify.php": ("php",),
    "verify.rb": ("ruby",),
}
EVENT = "01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f"
BODY = '{"type":"contact.created","data":{"first_name":"Zoë"}}'.encode()


def signed_as_told(vector: Mapping[str, Any], *names: str) -> dict[str, str]:
    """The headers of a vector's body, signed with the secrets of these names when and as what the vector says."""
    keys = [key_of(Secret(VECTORS[name])) for name in names]
    headers = vector["headers"]
    at = int(headers["webhook-timestamp"])
    return dict(signature_headers(headers["webhook-id"], at, vector["body"].encode(), keys))


def test_the_vectors_tell_of_every_way_to_be_refused() -> None:
    told = {vector["expect"] for vector in VECTORS["vectors"]}
    assert told == {"verified", "mismatch", "stale", "future", "unsigned"}
    names = [vector["name"] for vector in VECTORS["vectors"]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "vector",
    [vector for vector in VECTORS["vectors"] if vector["expect"] in ("verified", "stale", "future")],
    ids=lambda vector: vector["name"],
)
def test_a_vector_with_a_signature_that_holds_is_what_is_sent(vector: Mapping[str, Any]) -> None:
    sent = [
        signed_as_told(vector, "current_secret"),
        signed_as_told(vector, "current_secret", "previous_secret"),
    ]
    assert vector["headers"] in sent


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_decides_on_every_vector_as_the_vector_says(example: str) -> None:
    command = EXAMPLES[example]
    if shutil.which(command[0]) is None:
        pytest.skip(f"left out without {command[0]}")
    run = subprocess.run(
        [*command, DOCS / example, DOCS / "vectors.json"], capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        f"{vector['name']}: {vector['expect']}" for vector in VECTORS["vectors"]
    ]


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("written", ["", "whsec_", "whsec_?", "d2hzZWNf"])
def test_an_example_takes_nothing_else_for_a_secret(example: str, written: str, tmp_path: Path) -> None:
    """An empty secret above all: everybody knows the key that it stands for."""
    command = EXAMPLES[example]
    if shutil.which(command[0]) is None:
        pytest.skip(f"left out without {command[0]}")
    vector = VECTORS["vectors"][0] | {"headers": dict(signature_headers(EVENT, 1, BODY, [b""])), "now": 1}
    vectors = tmp_path / "vectors.json"
    vectors.write_text(json.dumps({"vectors": [vector | {"body": BODY.decode(), "secrets": [written]}]}))
    run = subprocess.run([*command, DOCS / example, vectors], capture_output=True, text=True, check=False)
    assert "base64" in run.stderr + run.stdout
    assert ": verified" not in run.stdout


def test_the_guide_shows_every_example() -> None:
    guide = (ROOT / "docs/webhooks.md").read_text()
    for name in (*EXAMPLES, "vectors.json"):
        assert f"(webhooks/{name})" in guide


def test_a_delivery_that_was_handled_is_known_until_a_copy_would_be_stale() -> None:
    secret = new_secret()
    headers = dict(signature_headers(EVENT, int(time()), BODY, [key_of(secret)]))
    handled = RecentIds()
    assert verify(headers, BODY, [secret.reveal()]) not in handled
    handled.add(EVENT)
    assert verify(headers, BODY, [secret.reveal()]) in handled


def test_what_would_be_stale_is_forgotten() -> None:
    handled = RecentIds(tolerance=-1)
    handled.add(EVENT)
    assert EVENT not in handled
