"""The promise table: a changed sentence, a test that does not exist, and one that is skipped are found."""

import subprocess
import sys
from pathlib import Path

import pytest

from docs import promise as tool
from docs.promise import PAGE, Claim, Collected, Promise, collect, read, wrong

TESTS = """
import pytest

def test_that_runs(): ...

@pytest.mark.skip
def test_that_is_skipped(): ...

@pytest.mark.parametrize("case", [pytest.param(1, marks=pytest.mark.xfail)])
def test_that_may_fail(case): ...
"""
SETTINGS = """
[pytest]
addopts = --import-mode=importlib
asyncio_default_fixture_loop_scope = session
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository with three tests of its own."""
    (tmp_path / "test_trial.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    monkeypatch.setattr(tool, "ROOT", tmp_path)


def findings(*proofs: str, missing: str = "") -> list[str]:
    """What is wrong with a page of the true sentences and one claim of these proofs."""
    claims = [Claim(1, "A claim.", list(proofs), missing)]
    return list(wrong(Promise(read(PAGE.read_text()).sentences, claims), collect(claims)))


def test_every_sentence_of_the_page_is_there_and_says_how_it_stands() -> None:
    promise = read(PAGE.read_text())
    assert len(promise.claims) > 60
    unknown = Collected(tests={proof for claim in promise.claims for proof in claim.proofs})
    assert list(wrong(promise, unknown)) == []


def test_every_proof_of_the_page_exists_and_runs(request: pytest.FixtureRequest) -> None:
    # A run of the whole suite has collected them all.
    known = Collected()
    known.pytest_collection_finish(request.session)
    if not list(wrong(read(PAGE.read_text()), known)):
        return
    # Of any other they are collected in a process of their own: it is nearly the whole suite.
    told = subprocess.run(
        [sys.executable, "-m", "docs.promise"],
        cwd=PAGE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-2000:] + told.stderr


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("revocation is immediate", "revocation is prompt"),
        ("> Questions not answered here? Contact us.\n", ""),
        ("4. Every database query", "5. Every database query"),
        ("## FAQ", "4. One more claim.\n   - not yet\n"),
    ],
)
def test_a_sentence_that_is_missing_changed_or_misnumbered_is_found(before: str, after: str) -> None:
    text = PAGE.read_text()
    promise = read(text.replace(before, after))
    assert before in text
    assert list(wrong(promise, collect([]))) != list(wrong(read(text), collect([])))


@pytest.mark.usefixtures("repository")
def test_a_proof_that_exists_is_enough() -> None:
    assert findings("test_trial.py::test_that_runs") == []


def test_a_claim_may_wait_but_not_stand_without_a_word() -> None:
    assert findings(missing="a service for it") == []
    assert findings() == ["1: names neither a test nor what is missing."]


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("proof", ["test_trial.py::test_of_nothing", "test_nowhere.py::test_of_nothing"])
def test_a_proof_that_does_not_exist_is_found(proof: str) -> None:
    assert findings(proof) == [f"1: there is no test {proof}."]


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("name", ["test_that_is_skipped", "test_that_may_fail"])
def test_a_proof_that_is_skipped_or_may_fail_is_found(name: str) -> None:
    proof = f"test_trial.py::{name}"
    assert findings(proof) == [f"1: {proof} is skipped or expected to fail."]


def test_what_is_neither_a_test_nor_not_yet_is_refused() -> None:
    with pytest.raises(ValueError, match="maybe"):
        read("\n## Section\n\n1. A claim.\n   - maybe\n")
