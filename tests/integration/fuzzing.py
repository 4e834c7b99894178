"""Schemathesis against a running house: every operation of the live OpenAPI, as somebody who may call it.

The same for the bounded run of the suite and for the long one of `make fuzz`; only the number of examples differs.
"""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

# What a description cannot say, it cannot be held to: that a list exists, a password is right, a key was used before.
_EXCLUDED_CHECKS = "positive_data_acceptance"
# Operations that end the session that all of the run uses, and those that answer 503 where no operator has a language model.
_ENDING = "^/v1/auth/(logout|logout-everywhere|switch)$|^/v1/team/leave$"
AI = "^/v1/ai/"


@dataclass(frozen=True)
class Fuzzer:
    """Who calls, and what of the API."""

    credential: str | None
    # A regular expression of the paths that are called.
    paths: str = ".*"
    # Whether each bound of each schema is tried besides what is made at random; one who gets as far as the others is enough for that.
    covers: bool = True
    # Whether there is a language model to be asked.
    has_model: bool = False


@dataclass(frozen=True)
class Verdict:
    """How a run ended, and all that it said."""

    passed: bool
    report: str

    @property
    def figure(self) -> str:
        """What was generated and found, in one line."""
        lines = [line.strip() for line in self.report.splitlines()]
        return next((line for line in lines if " generated" in line), "nothing was generated")


async def fuzz(url: str, fuzzer: Fuzzer, *, examples: int, seed: int, folder: Path) -> Verdict:
    """Let schemathesis call the API with so many examples an operation, besides those that cover its schemas."""
    authorization = ("--header", f"Authorization: Bearer {fuzzer.credential}") if fuzzer.credential else ()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{url}/openapi.json",
        "--url",
        url,
        *authorization,
        "--checks",
        "all",
        "--exclude-checks",
        _EXCLUDED_CHECKS,
        "--phases",
        "coverage,fuzzing" if fuzzer.covers else "fuzzing",
        "--max-examples",
        str(examples),
        "--seed",
        str(seed),
        "--generation-deterministic",
        "--continue-on-failure",
        "--include-path-regex",
        fuzzer.paths,
        "--exclude-path-regex",
        _ENDING if fuzzer.has_model else f"{_ENDING}|{AI}",
        "--warnings",
        "off",
        "--no-color",
        # Where it keeps what it found.
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return Verdict(process.returncode == 0, said.decode())
