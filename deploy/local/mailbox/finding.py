"""Finding mail in the store: by recipient, sender, subject and time, newest first."""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from deploy.local.mailbox.reading import as_text, read
from deploy.local.mailbox.store import Store


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which messages are wanted. Empty fields do not restrict; addresses match whole, letter case aside."""

    to: str = ""
    # The envelope's sender or the address in the From header.
    sender: str = ""
    # A part of the subject, letter case aside.
    subject: str = ""
    # A part of the subject, of the sender's or of a recipient's address.
    text: str = ""
    since: float | None = None

    def condition(self) -> tuple[str, dict[str, Any]]:
        """The SQL condition on `messages`, with its parameters."""
        conditions = ["true"]
        if self.to:
            conditions.append("id IN (SELECT message_id FROM recipients WHERE address = :to)")
        if self.sender:
            conditions.append(":sender IN (from_address, fold(sender))")
        if self.subject:
            conditions.append("instr(fold(subject), :subject) > 0")
        if self.text:
            conditions.append(
                "instr(fold(subject || ' ' || from_address || ' ' || sender || ' ' || recipients), :text) > 0"
            )
        if self.since is not None:
            conditions.append("received_at >= :since")
        return " AND ".join(conditions), {
            "to": self.to.casefold(),
            "sender": self.sender.casefold(),
            "subject": self.subject.casefold(),
            "text": self.text.casefold(),
            "since": self.since,
        }


def find(store: Store, wanted: Wanted, *, limit: int, before: int | None, whole: bool) -> dict[str, Any]:
    """A page of messages and the token of the next one, empty at the end."""
    condition, parameters = wanted.condition()
    place = "id < :before" if before is not None else "true"
    statement = f"SELECT * FROM messages WHERE {condition} AND {place} ORDER BY id DESC LIMIT :limit"  # noqa: S608 — of fixed texts
    with store.reading() as connection:
        rows = connection.execute(statement, {**parameters, "before": before, "limit": limit + 1}).fetchall()
    token = str(rows[limit - 1]["id"]) if len(rows) > limit else ""
    return {"messages": [_message(row, whole) for row in rows[:limit]], "next_page_token": token}


def count(store: Store, wanted: Wanted) -> int:
    """How many messages match."""
    condition, parameters = wanted.condition()
    statement = f"SELECT count(*) FROM messages WHERE {condition}"  # noqa: S608 — of fixed texts
    with store.reading() as connection:
        (number,) = connection.execute(statement, parameters).fetchone()
    return int(number)


def message(store: Store, message_id: int) -> dict[str, Any] | None:
    """One message, or None."""
    with store.reading() as connection:
        row = connection.execute("SELECT * FROM messages WHERE id = ?", (message_id,)).fetchone()
    return _message(row, whole=True) if row else None


def content(store: Store, message_id: int) -> bytes | None:
    """One message as it came over the wire, or None."""
    with store.reading() as connection:
        row = connection.execute("SELECT content FROM messages WHERE id = ?", (message_id,)).fetchone()
    return bytes(row["content"]) if row else None


def empty(store: Store) -> int:
    """Delete every message; tells how many there were."""
    with store.writing() as connection:
        deleted = connection.execute("DELETE FROM messages").rowcount
        connection.execute("DELETE FROM recipients")
    return deleted


def _message(row: sqlite3.Row, whole: bool) -> dict[str, Any]:
    """As the API shows it; without parts and raw text where a list is all that is wanted."""
    basic = {
        "id": str(row["id"]),
        "received_at": _rfc3339(row["received_at"]),
        "envelope": {"from": row["sender"], "to": orjson.loads(row["recipients"])},
        "subject": row["subject"],
        "from": row["from_address"],
        "size": len(row["content"]),
    }
    if not whole:
        return basic
    reading = read(row["content"])
    return {
        **basic,
        "headers": reading.headers,
        "parts": reading.parts,
        "raw": as_text(row["content"]),
    }


def _rfc3339(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
