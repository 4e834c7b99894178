"""Whether a migration can be applied while the processes of the last release run: it takes nothing away that they use, and locks nothing for long.

squawk (https://squawkhq.com) knows what PostgreSQL locks and rewrites for each statement, and which tables are new in a script. Here
is what it does not know, and what may be done in the end: what is taken away may go once a released version no longer uses it, which
the script says.

    unused_since = "0.2.0"
"""

import json
import re
import subprocess
import sysconfig
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from chassis.migrations.offline import Rendered

# Of style, or kept by chassis/migrations/upgrade.py for all scripts.
_NOT_ASKED = (
    "ban-char-field",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-robust-stmts",
    "prefer-text-field",
    "prefer-timestamp-tz",
    "require-lock-timeout",
    "require-statement-timeout",
)
# What an older process may still use, and no other.
_TAKES_AWAY = {
    "ban-drop-column",
    "ban-drop-constraint",
    "ban-drop-default",
    "ban-drop-function",
    "ban-drop-not-null",
    "ban-drop-domain",
    "ban-drop-sequence",
    "ban-drop-table",
    "ban-drop-type",
    "ban-drop-view",
    "drop-policy",
    "drop-trigger",
    "revoke",
}
_NAME = r'"?([\w.]+)"?'
_OWN = {
    "drop-policy": re.compile(rf"\s*DROP\s+POLICY\s+(?:IF\s+EXISTS\s+)?{_NAME}", re.I),
    "drop-trigger": re.compile(rf"\s*DROP\s+TRIGGER\s+(?:IF\s+EXISTS\s+)?{_NAME}", re.I),
    "revoke": re.compile(r"\s*REVOKE\s", re.I),
    "lock-table": re.compile(r"\s*(?:LOCK|CLUSTER|TRUNCATE|VACUUM\s*\(?FULL)\b", re.I),
}
_CREATED = r"\s*CREATE\s+(?:POLICY|TRIGGER)\s+"
_WHY = {
    "drop-policy": "Dropping a policy may hide rows from older processes.",
    "drop-trigger": "Dropping a trigger may end what older processes rely on.",
    "revoke": "Revoking a privilege may break older processes.",
    "lock-table": "This locks a whole table for as long as it takes.",
}


@dataclass(frozen=True, slots=True)
class Objection:
    """What stands against a script, by which rule, and the words of the statement that it begins with."""

    rule: str
    why: str
    statement: str

    def __str__(self) -> str:
        return f"{self.statement}: {self.why} ({self.rule})"


def objections(script: Rendered, released: Collection[str]) -> list[Objection]:
    """What stands against applying a script; `released` are the versions of all releases."""
    found = [*_by_squawk(script.sql), *_by_us(script.sql)]
    return [each for each in found if not _may(script, each, released)]


def _may(script: Rendered, objection: Objection, released: Collection[str]) -> bool:
    return objection.rule in _TAKES_AWAY and getattr(script.module, "unused_since", None) in released


def _by_squawk(sql: str) -> Iterator[Objection]:
    program = Path(sysconfig.get_path("scripts"), "squawk")
    excluded = [f"--exclude={rule}" for rule in _NOT_ASKED]
    command = (str(program), "--reporter=json", "--pg-version=18", *excluded)
    answer = subprocess.run(command, input=sql, capture_output=True, text=True, check=False)  # noqa: S603 - a program of the environment
    if answer.returncode not in (0, 1):
        raise RuntimeError(f"squawk: {answer.stderr}")
    lines = sql.splitlines()
    for each in json.loads(answer.stdout):
        yield Objection(each["rule_name"], each["message"], lines[each["line"]].strip())


def _by_us(sql: str) -> Iterator[Objection]:
    statements = sql.split(";\n")
    for statement in statements:
        for rule, pattern in _OWN.items():
            if (match := pattern.match(statement)) and not _created(sql, *match.groups()):
                yield Objection(rule, _WHY[rule], statement.strip().splitlines()[0])


def _created(sql: str, name: str = "") -> bool:
    """Whether what is dropped was made by the same script, for itself."""
    return bool(name) and re.search(rf'{_CREATED}"?{re.escape(name)}\b', sql, re.I) is not None
