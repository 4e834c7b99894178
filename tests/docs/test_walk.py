"""What walks through pages does what they say, and notices whatever is not so."""

from pathlib import Path

import pytest

from tests.docs.walk import Differs, Walk


def follow(folder: Path, text: str) -> None:
    page = folder / "page.md"
    page.write_text(text)
    with Walk(folder, {}) as walk:
        walk.follow(page)


def block(kind: str, *lines: str) -> str:
    return "\n".join((f"```{kind}", *lines, "```", ""))


def at(path: str, *blocks: str) -> str:
    return "".join(f"In `{path}`:\n\n{each}" for each in blocks)


FILE = at("notes/fruit.txt", block("text notes/fruit.txt", "apples", "pears"))


def test_a_page_that_is_right_is_followed_to_its_end(tmp_path: Path) -> None:
    edit = at("notes/fruit.txt", block("diff notes/fruit.txt", " apples", "+figs", "-pears"))
    typed = block(
        "console",
        "$ HERE=notes",
        "$ cat $HERE/fruit.txt \\",
        "> | sort -r",
        "figs",
        "…s",
        "$ seq 9",
        "1",
        "…",
        "9",
    )
    refused = block("console fails", "$ ls nowhere", "ls: …: No such file or directory")
    follow(tmp_path, FILE + edit + typed + refused + block("text", "Only to be looked at."))
    assert (tmp_path / "notes/fruit.txt").read_text() == "apples\nfigs\n"


@pytest.mark.parametrize(
    ("text", "noticed"),
    [
        (
            block("console", "$ echo pears", "apples"),
            "page.md, block at line 2: line 2: echo pears\nis to print",
        ),
        (block("console", "$ echo apples", "apples", "pears"), "is to print"),
        (block("console", "$ printf 'apples\\npears\\n'", "apples"), "is to print"),
        (block("console", "$ false"), "ends with 1"),
        (block("console fails", "$ true"), "ends with 0"),
        (block("console", "$ exit 0"), "the shell ended"),
        (FILE + FILE, "fruit.txt is there already"),
        (
            FILE + at("notes/fruit.txt", block("diff notes/fruit.txt", " plums", "+figs")),
            "stands 0 times in fruit.txt",
        ),
        (FILE + at("notes/fruit.txt", block("diff notes/fruit.txt", "+figs", " ")), "not once"),
        (at("notes/fruit.txt", block("diff notes/fruit.txt", "+figs")), "No such file"),
        (block("text notes/fruit.txt", "apples"), "does not name notes/fruit.txt"),
    ],
)
def test_whatever_is_not_as_the_page_says_is_noticed(tmp_path: Path, text: str, noticed: str) -> None:
    with pytest.raises(Differs) as caught:
        follow(tmp_path, text)
    assert noticed in str(caught.value)
