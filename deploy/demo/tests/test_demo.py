"""The parts of the demo that must be right for its verdict to mean something."""

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.demo import __main__ as demo
from deploy.demo.checks import Ledger, all_alike, census, once_each, tally
from deploy.demo.house import House, HouseNotUp, find_house
from deploy.demo.inbox import Inbox, Mail
from deploy.demo.people import PEOPLE, people_file
from deploy.demo.scene import Scene
from deploy.demo.screen import Screen
from deploy.demo.waiting import until


@given(st.lists(st.sampled_from("abcdef"), max_size=8), st.lists(st.sampled_from("abcdef"), max_size=8))
def test_a_census_is_clean_only_when_everyone_came_exactly_once(wanted: list[str], found: list[str]) -> None:
    clean = Counter(found) == Counter(set(wanted))
    assert (census(wanted, found) == once_each(set(wanted))) is clean


def test_a_census_names_who_is_missing_repeated_or_strange() -> None:
    assert census("abc", "abbx") == (
        "1 person, once each; 1 missing (c); 1 more than once (b); 1 not expected (x)"
    )


def test_amounts_and_answers_are_said_in_words() -> None:
    assert tally({"sent": 1974, "failed": 0, "vetoed": 26}) == "1,974 sent, 26 vetoed"
    assert tally({}) == "none"
    assert all_alike([200, 200, 500]) == "2 × 200, 1 × 500"


def test_one_difference_fails_the_run() -> None:
    ledger = Ledger()
    ledger.expect("a", expected=1, actual="1")
    assert ledger.passed
    ledger.expect("b", expected=1, actual=2)
    assert not ledger.passed


def test_the_file_has_what_it_says() -> None:
    file = people_file("run")
    lines = file.content.decode().splitlines()
    rows = list(csv.DictReader(lines))
    good = [row for number, row in enumerate(rows, start=2) if number not in file.bad_lines]
    addresses = Counter(row["email"].lower() for row in good)
    assert set(addresses) == {*file.readers, file.bouncing}
    assert len(addresses) == PEOPLE
    assert addresses.total() - len(addresses) == file.duplicates
    assert [lines[line - 1].split(",")[0] for line in file.bad_lines] == ["reader-without-a-host", ""]


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({}, ""),
        ({"list-unsubscribe": ["<https://a.test/u/1>"]}, ""),
        ({"list-unsubscribe-post": ["List-Unsubscribe=One-Click"]}, ""),
        (
            {
                "list-unsubscribe": ["<mailto:u@a.test>, <https://a.test/u/1>"],
                "list-unsubscribe-post": ["List-Unsubscribe=One-Click"],
            },
            "https://a.test/u/1",
        ),
    ],
)
def test_one_click_needs_both_headers(headers: dict[str, list[str]], url: str) -> None:
    assert Mail(("a@b.test",), headers).unsubscribe_url == url


async def test_waiting_past_the_deadline_answers_what_was_seen_last() -> None:
    async def look() -> int:
        return 3

    assert await until(look, lambda seen: seen == 4, seconds=0) == 3


def test_without_a_house_the_demo_says_how_to_start_one(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.demo"],
        env={"PYTHONPATH": ":".join(sys.path), "FLOWNURTURE_VAR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "make up" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "run", ["", "[]", "{}", json.dumps({"gateway_url": "http://127.0.0.1:9", "mail_url": "http://127.0.0.1:9", "super_admin": {"email": "a"}})]
)  # fmt: skip
def test_a_house_that_is_written_down_wrongly_or_gone_is_no_house(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "local.json").write_text(run)
    monkeypatch.setenv("FLOWNURTURE_VAR", str(tmp_path))
    with pytest.raises(HouseNotUp, match="make up"):
        find_house()


@pytest.mark.parametrize(("words", "goes_on"), [((), True), (("--house-ends",), False)])
def test_nobody_is_sent_to_a_house_that_ends_with_the_demo(
    words: tuple[str, ...],
    goes_on: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    house = House("http://gateway.test", "http://mail.test", "operator@example.test", tmp_path / "local.json")

    async def tell_nothing(_: House, screen: Screen, ledger: Ledger) -> Scene:
        nobody = httpx.AsyncClient()
        return Scene("run", nobody, Inbox(nobody), screen, ledger, people_file("run"))

    monkeypatch.setenv("FLOWNURTURE_VAR", str(tmp_path))
    monkeypatch.setattr(demo, "find_house", lambda: house)
    monkeypatch.setattr(demo, "tell", tell_nothing)
    monkeypatch.setattr(sys, "argv", ["deploy.demo", *words])
    assert demo.main() == 0
    said = capsys.readouterr().out
    assert "checks hold" in said
    assert ("The house goes on running" in said, house.gateway_url in said) == (goes_on, goes_on)
