"""How many reports a feedback process takes in a second: kept before it says 250, and counted until the last of them has had its effect."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import psycopg

from bench.sending.ports import unused_port
from bench.sending.processor import await_idle, difference, used_by
from bench.sending.sinks import Sink, running
from bench.sending.stage import Platform, Stage, stage
from bench.sending.turns import Turn, say_turn, times
from chassis.secret import Secret
from deploy.local.environment import process_environment
from services.sending.signed_addresses import ReturnPaths

_LEAST_RATE = 300
_ORGANIZATIONS = 8
_CONNECTIONS = 16
_DOMAIN = "mail.test"
_PATIENCE = 60.0  # seconds
# As after a campaign: mails of the corpus by name, and whether they say anything against their message.
_MIX = {
    "postfix_user_unknown": True,
    "gmail_over_quota": True,
    "arf_yahoo": True,
    "exchange_online_not_found": True,
    "auto_outlook": False,
    "gmail_no_such_user": True,
    "exim_user_unknown": True,
    "qmail_no_mailbox": True,
    "arf_comcast": True,
    "auto_rfc3834": False,
}
_SENT = """
    WITH made AS (
        INSERT INTO sending.batches (organization_id, id, status, size) VALUES (%(organization)s, uuidv7(), 'settled', %(messages)s)
        RETURNING id
    )
    INSERT INTO sending.messages (organization_id, id, batch_id, email, email_digest, status, settled_at)
    SELECT %(organization)s, uuidv7(), made.id, email, sha256(email::bytea), 'sent', now()
    FROM made CROSS JOIN generate_series(1, %(messages)s) AS number
    CROSS JOIN LATERAL (SELECT 'reader-' || number || '@example.com' AS email) AS addressed
    RETURNING id
"""
_TAKEN_IN = """
    SELECT (SELECT count(*) FROM sending.feedback_reports WHERE due_at IS NULL),
        (SELECT count(*) FROM sending.feedback_findings)
"""


@dataclass(frozen=True, slots=True)
class _Load:
    """Reports, each to the return path of another message, and how many of them say something against it."""

    file: Path
    reports: int
    counting: int


def taken_in(reports: int, rounds: int) -> dict[str, Any]:
    """Reports a second from several connections, in turns with a listener that takes the same mails and does nothing with them."""
    with stage() as made, _feedback(made) as (platform, port), _bare() as bare:
        loads = list(_loads(made, reports, rounds + 1))
        turns: dict[str, list[Turn]] = {"feedback": [], "bare": []}
        kept, counted = 0, 0
        for number, load in enumerate(loads):
            kept, counted = kept + load.reports, counted + load.counting
            taken = {
                "bare": _send(load, bare.port, {"listener": [bare.pid]}),
                "feedback": _send(load, port, platform.pids, partial(_await, made, (kept, counted))),
            }
            for name, turn in taken.items():
                say_turn(name, turn)
                if number:
                    # The first round warms up.
                    turns[name].append(turn)
    rate = median(turn.rate for turn in turns["feedback"])
    return {
        name: {
            "reports_per_second": round(median(turn.rate for turn in theirs)),
            "spread": [round(min(turn.rate for turn in theirs)), round(max(turn.rate for turn in theirs))],
            "processor_microseconds": {
                who: round(median(turn.processor_microseconds(who) for turn in theirs))
                for who in theirs[0].processor_seconds
            },
        }
        for name, theirs in turns.items()
    } | {
        "of_the_bare_listener": round(times(turns["feedback"], turns["bare"]), 3),
        "meets": rate >= _LEAST_RATE,
    }


@contextmanager
def _feedback(made: Stage) -> Iterator[tuple[Platform, int]]:
    """A feedback process and PostgreSQL by themselves, and the port of its SMTP."""
    platform = Platform(made, made.addresses, {"postgres": [made.servers["postgres"]]})
    with platform.running("feedback"):
        yield platform, int(made.addresses.feedback_smtp.rpartition(":")[2])


@contextmanager
def _bare() -> Iterator[Sink]:
    port = unused_port()
    with running([sys.executable, "-m", "bench.sending.bare_listener", str(port)], port) as sink:
        yield sink


def _loads(made: Stage, reports: int, count: int) -> Iterator[_Load]:
    keys = json.loads(process_environment("feedback", made.addresses, made.secrets)["LINK_KEYS"])
    paths = ReturnPaths([Secret(key) for key in keys])
    for number in range(count):
        sent = [_sent(made, organization, reports // _ORGANIZATIONS) for organization in _organizations()]
        # Of all organizations in turns.
        to = [
            paths.address(organization, message_id, _DOMAIN)
            for messages in zip(*sent, strict=True)
            for organization, message_id in messages
        ]
        names = list(islice(cycle(_MIX), len(to)))
        file = made.folder / f"reports-{number}"
        file.write_text("".join(f"{address} {name}\n" for address, name in zip(to, names, strict=True)))
        yield _Load(file, len(to), sum(_MIX[name] for name in names))


def _organizations() -> list[UUID]:
    return [uuid4() for _ in range(_ORGANIZATIONS)]


def _sent(made: Stage, organization: UUID, messages: int) -> list[tuple[UUID, UUID]]:
    with psycopg.connect(made.admin_url, autocommit=True) as connection:
        rows = connection.execute(_SENT, {"organization": organization, "messages": messages}).fetchall()
        connection.execute("VACUUM ANALYZE sending.messages")
    return [(organization, id_) for (id_,) in rows]


def _send(
    load: _Load, port: int, processes: dict[str, list[int]], rest: Callable[[], None] | None = None
) -> Turn:
    """Send reports, and wait for the rest of what they cause."""
    await_idle(processes)
    before = used_by(processes)
    done = subprocess.run(  # noqa: S603 - of our own
        [sys.executable, "-m", "bench.sending.reporting", str(port), str(_CONNECTIONS), str(load.file)],
        check=True,
        capture_output=True,
    )
    seconds, taken = float(done.stdout), time.monotonic()
    if rest is not None:
        rest()
        seconds += time.monotonic() - taken
    return Turn(load.reports, seconds, difference(before, used_by(processes)))


def _await(made: Stage, taken_in: tuple[int, int]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while made.look(_TAKEN_IN) != [taken_in]:
        if time.monotonic() > deadline:
            raise SystemExit("reports were taken and had no effect")
        time.sleep(0.05)
