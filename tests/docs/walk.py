"""Does what a page says, as a reader would: writes its files, makes its edits, types its commands and compares what they print.

A fenced block says in its first line what it is:

- `diff <path>`: an edit. What the lines with a space or a minus show stands in that file once, and gives way to those with a space or a plus.
- `<language> <path>`: a new file.
- `console`: commands behind `$ `, continued behind `> `, and what each prints; `…` stands for anything. `console fails`: they do not succeed.
- anything else is there to be looked at.

Where a page is shown, first lines are not: the text before a file or an edit names its path as well.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from markdown_it import MarkdownIt

_END = "<what it printed ends here>"


class Differs(AssertionError):
    """The page says one thing, and another is so; the message names the line."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: where its content begins, what it is, what it is about, what it says, and the text before it."""

    line: int
    kind: str
    about: str
    content: str
    before: str


@dataclass(frozen=True, slots=True)
class Command:
    """What is typed, in which line of the page, and what is said to be printed."""

    line: int
    typed: str
    printed: str


def blocks_of(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    before = ""
    for token in MarkdownIt("commonmark").parse(page.read_text()):
        if token.type == "inline":
            before = token.content
        elif token.type == "fence" and token.map is not None:
            kind, _, about = token.info.strip().partition(" ")
            yield Block(token.map[0] + 2, kind, about.strip(), token.content, before)


def commands_of(block: Block) -> Iterator[Command]:
    """The commands of a console, each with what follows it."""
    typed: list[str] = []
    printed: list[str] = []
    began = block.line
    for number, line in enumerate(block.content.splitlines(), block.line):
        if line.startswith("$ "):
            if typed:
                yield Command(began, "\n".join(typed), "\n".join(printed))
            began, typed, printed = number, [line[2:]], []
        elif line.startswith("> ") and not printed:
            typed.append(line[2:])
        else:
            printed.append(line)
    yield Command(began, "\n".join(typed), "\n".join(printed))


class Walk:
    """A walk through pages: a folder that they change, and a shell that keeps what was set in it. A context manager."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment}

    def __enter__(self) -> Self:
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait()

    def follow(self, page: Path) -> None:
        """Do what the page says, from its first line to its last. Raises Differs where something else comes of it."""
        for block in blocks_of(page):
            with _at(page, block.line):
                if block.kind == "console":
                    for command in commands_of(block):
                        self._type(command, fails=block.about == "fails")
                elif block.about:
                    self._change(block)

    def _type(self, command: Command, *, fails: bool) -> None:
        printed, status = self._run(command.typed)
        if not _pattern(command.printed).fullmatch(printed.strip()):
            raise Differs(
                f"line {command.line}: {command.typed}\nis to print\n{command.printed}\nand prints\n{printed}"
            )
        if (status != 0) is not fails:
            raise Differs(f"line {command.line}: {command.typed}\nends with {status}\n{printed}")

    def _run(self, typed: str) -> tuple[str, int]:
        """What a command prints, and how it ends."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        # Nothing of what else is to be typed is for the command to read.
        self._shell.stdin.write(f"{{ {typed}\n}} </dev/null; status=$?; echo; echo '{_END}' $status\n")
        self._shell.stdin.flush()
        printed: list[str] = []
        for line in self._shell.stdout:
            if line.startswith(_END):
                return "".join(printed), int(line.removeprefix(_END))
            printed.append(line)
        raise Differs(f"the shell ended at {typed}\n{''.join(printed)}")

    def _change(self, block: Block) -> None:
        if f"`{block.about}`" not in block.before:
            raise Differs(
                f"the text before it does not name {block.about}, and readers do not see it otherwise"
            )
        if block.kind == "diff":
            self._edit(self._folder / block.about, block.content)
        else:
            self._write(self._folder / block.about, block.content)

    def _edit(self, file: Path, change: str) -> None:
        lines = [line or " " for line in change.splitlines()]
        before = "".join(f"{line[1:]}\n" for line in lines if line[0] in " -")
        after = "".join(f"{line[1:]}\n" for line in lines if line[0] in " +")
        text = file.read_text()
        if text.count(before) != 1:
            raise Differs(f"stands {text.count(before)} times in {file.name}, not once:\n{before}")
        file.write_text(text.replace(before, after))

    def _write(self, file: Path, content: str) -> None:
        if file.exists():
            raise Differs(f"{file.name} is there already")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def _pattern(printed: str) -> re.Pattern[str]:
    """What is printed, where a line that is `…` stands for any lines, and `…` in a line for anything in it."""
    lines = [
        r"(?:.*\n)*?(?:.*)?" if line.strip() == "…" else r".*?".join(map(re.escape, line.split("…")))
        for line in printed.strip().splitlines()
    ]
    return re.compile("\n".join(lines))


@contextmanager
def _at(page: Path, line: int) -> Iterator[None]:
    """Say where on which page it was."""
    try:
        yield
    except Differs as error:
        raise Differs(f"{page.name}, block at line {line}: {error}") from None
    except OSError as error:
        raise Differs(f"{page.name}, block at line {line}: {error}") from error
