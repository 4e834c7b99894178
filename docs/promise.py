"""Hold the promise to its proofs: `make promise`.

Reads docs/promise.md, collects the tests it names, prints each claim with how it stands, and counts. Fails when a
sentence of the page is missing, changed or out of order, and when a test does not exist or is marked to be skipped or to fail.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from hashlib import sha256
from io import StringIO
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/promise.md"
# SHA-256 of the sentences of the security page, one a line. It changes with the page alone, never with a proof.
SENTENCES = "52ce8e7fce145f8a8d0c915e772c929ef403c6b38e9766e2a006c2138b50243d"

CLAIM = re.compile(r"(\d+)\. (.+)")
QUOTE = re.compile(r"> (.+)")
PROOF = re.compile(r" +- `(.+)`")
MISSING = re.compile(r" +- not yet(?:: (.+))?")
SKIPPING = ("skip", "skipif", "xfail")
# Nothing runs, so there is no garbage of tests to be told of: it would be looked for in all the memory of who asks, five times over.
COLLECTING = ("--collect-only", "--quiet", "-p", "no:unraisableexception")


@dataclass
class Claim:
    """A sentence that promises something, the tests that prove it, and what is missing until they do."""

    number: int
    sentence: str
    proofs: list[str] = field(default_factory=list)
    missing: str = ""

    @property
    def proven(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


@dataclass
class Promise:
    """The page, read: all of its sentences in order, and the claims among them."""

    sentences: list[str]
    claims: list[Claim]

    @property
    def digest(self) -> str:
        """What changes when any sentence does."""
        return sha256("\n".join(self.sentences).encode()).hexdigest()


def read(text: str) -> Promise:
    """Read the text of the page; a list item that is neither a test nor `not yet` raises ValueError."""
    promise = Promise([], [])
    for line in text.partition("\n## ")[2].splitlines():
        if claim := CLAIM.fullmatch(line):
            promise.sentences.append(claim[2])
            promise.claims.append(Claim(int(claim[1]), claim[2]))
        elif quote := QUOTE.fullmatch(line):
            promise.sentences.append(quote[1])
        elif proof := PROOF.fullmatch(line):
            promise.claims[-1].proofs.append(proof[1])
        elif missing := MISSING.fullmatch(line):
            promise.claims[-1].missing = missing[1] or "no test"
        elif line.lstrip().startswith("-"):
            raise ValueError(f"neither a test nor “not yet”: {line.strip()}")
    return promise


@dataclass
class Collected:
    """The tests of the files that the page names, without their parameters, and which of them do not count."""

    tests: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what pytest found; called by pytest."""
        for item in session.items:
            name = item.nodeid.partition("[")[0]
            self.tests.add(name)
            if any(item.get_closest_marker(mark) for mark in SKIPPING):
                self.skipped.add(name)


def collect(claims: list[Claim]) -> Collected:
    """Let pytest find the tests of all files that the claims name."""
    collected = Collected()
    named = {ROOT / proof.partition("::")[0] for claim in claims for proof in claim.proofs}
    files = sorted(str(file) for file in named if file.is_file())
    if not files:
        return collected
    with redirect_stdout(StringIO()) as said:
        status = pytest.main([*COLLECTING, f"--rootdir={ROOT}", *files], plugins=[collected])
    if status is not pytest.ExitCode.OK:
        print(said.getvalue())
    return collected


def wrong(promise: Promise, collected: Collected) -> Iterator[str]:
    """What keeps the page from being true, a sentence each."""
    if promise.digest != SENTENCES:
        yield f"A sentence of the page is missing, changed or out of order (the digest is {promise.digest})."
    if [claim.number for claim in promise.claims] != list(range(1, len(promise.claims) + 1)):
        yield "The claims are not numbered one by one."
    for claim in promise.claims:
        if claim.proven and not claim.proofs:
            yield f"{claim.number}: names neither a test nor what is missing."
        for proof in claim.proofs:
            if proof not in collected.tests:
                yield f"{claim.number}: there is no test {proof}."
            elif proof in collected.skipped:
                yield f"{claim.number}: {proof} is skipped or expected to fail."


def main() -> int:
    """Print how the promise stands; 0 when what it names is there."""
    promise = read(PAGE.read_text())
    collected = collect(promise.claims)
    for claim in promise.claims:
        print(f"{'proven ' if claim.proven else 'not yet'}  {claim.number:2}  {claim.sentence}")
        for proof in claim.proofs:
            print(f"             {proof}")
        if not claim.proven:
            print(f"             missing: {claim.missing}")
    proven = sum(claim.proven for claim in promise.claims)
    print(f"\n{proven} proven, {len(promise.claims) - proven} not yet, of {len(promise.claims)} claims")
    found = list(wrong(promise, collected))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
