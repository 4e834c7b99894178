"""An export is whole or it is not there: whatever the platform answers, and wherever the answer ends."""

import json
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4
from zipfile import ZipFile

import pytest
from typer.testing import CliRunner, Result

from operations.__main__ import app

# Each of these ends a line somewhere, and none of them here.
NAME = "Zoë\u2028\x85 'Ada' \\ \"x\""


def line(service: str, table: str, **row: object) -> bytes:
    return json.dumps({"service": service, "table": table, "row": row}, ensure_ascii=False).encode() + b"\n"


LINES = [
    line("identity", "organizations", name="Grocer"),
    *(line("contacts", "contacts", id=number, name=NAME) for number in range(3_000)),
]


def end(**rows: dict[str, int]) -> bytes:
    whole = {
        service: {"revision": "0007", "rows": counts, "left_out": {"outbox": "events on their way"}}
        for service, counts in rows.items()
    }
    return json.dumps({"whole": whole}).encode() + b"\n"


END = end(identity={"organizations": 1}, contacts={"contacts": 3_000, "lists": 0})


@contextmanager
def platform(answer: bytes, *, announced: int | None = None, status: int = 200) -> Iterator[str]:
    """Answers so much of what was announced, and hangs up."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(answer) if announced is None else announced))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def exported(tmp_path: Path) -> Callable[[str], Result]:
    """What the command says, of a platform at this address; it writes `organization.zip`."""

    def run(url: str) -> Result:
        file = str(tmp_path / "organization.zip")
        words = ["org", "export", str(uuid4()), file, "--json"]
        return CliRunner().invoke(app, words, env={"FLOWNURTURE_URL": url, "FLOWNURTURE_TOKEN": "token"})

    return run


def test_what_the_platform_answers_is_in_the_file_with_how_many_rows_there_are_of_what(
    tmp_path: Path, exported: Callable[[str], Result]
) -> None:
    with platform(b"".join(LINES) + END) as url:
        result = exported(url)
    assert result.exit_code == 0, result.output
    file = tmp_path / "organization.zip"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with ZipFile(file) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        content = {name: archive.read(name) for name in archive.namelist() if name != "manifest.json"}
    assert json.loads(result.stdout) == manifest | {"file": str(file)}
    assert content.keys() == manifest["files"].keys()
    for name, written in content.items():
        assert manifest["files"][name] == {
            "rows": written.count(b"\n"),
            "sha256": sha256(written).hexdigest(),
        }
    assert json.loads(content["contacts/contacts.jsonl"].split(b"\n")[0]) == {"id": 0, "name": NAME}
    assert content["contacts/lists.jsonl"] == b""
    assert manifest["revisions"] == {"identity": "0007", "contacts": "0007"}
    assert manifest["left_out"]["contacts"] == {"outbox": "events on their way"}


WHOLE = b"".join(LINES) + END
CUT = {
    "before its end": {"answer": b"".join(LINES)},
    "in the midst of a line": {"answer": WHOLE[:1000]},
    "by a line that hangs up": {"answer": WHOLE[:1000], "announced": len(WHOLE)},
    "by whoever is in between": {"answer": LINES[0] + b"<html>Bad gateway</html>\n"},
    "of some of its rows": {"answer": b"".join(LINES[:-1]) + END},
    "of a table": {"answer": LINES[0] + end(identity={"organizations": 1, "memberships": 1})},
    "altogether": {"answer": b""},
}


@pytest.mark.parametrize("how", CUT)
def test_an_answer_that_is_cut_off_leaves_no_file_and_may_be_asked_for_again(
    tmp_path: Path, exported: Callable[[str], Result], how: str
) -> None:
    with platform(**CUT[how]) as url:  # type: ignore[arg-type]
        result = exported(url)
    assert result.exit_code == 4, result.output
    assert result.stderr.strip()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path, exported: Callable[[str], Result]) -> None:
    (tmp_path / "organization.zip").write_text("another")
    with platform(WHOLE) as url:
        assert exported(url).exit_code == 3
    assert (tmp_path / "organization.zip").read_text() == "another"


def test_who_may_not_have_it_is_told_so(tmp_path: Path, exported: Callable[[str], Result]) -> None:
    with platform(b"{}", status=403) as url:
        assert exported(url).exit_code == 3
    assert list(tmp_path.iterdir()) == []
