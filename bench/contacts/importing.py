"""How fast a file goes in, beside a plain COPY of the same rows, and what memory that takes."""

import asyncio
import csv
import time
from datetime import UTC, datetime
from io import StringIO

import psutil
import psycopg

from bench.contacts.stage import Stage
from chassis.database import Database
from chassis.email_address import EmailAddress
from chassis.identifiers import new_id
from chassis.secret import Secret
from services.contacts.imports import Options, create_import
from services.contacts.uploads import Upload

_PLAIN = """
    CREATE TABLE plain (
        organization_id uuid, id uuid, email text, email_digest bytea, first_name text, last_name text, status text,
        last_import_id uuid, created_at timestamptz, updated_at timestamptz, custom_fields jsonb
    )
"""
_COPY = "COPY plain (id, email, email_digest, first_name, last_name, status, created_at, custom_fields) FROM STDIN"


def file_of(rows: int, name: str) -> bytes:
    """A file of so many people who are not contacts yet."""
    lines = [f"{name}{number}@example.org,First{number},Last{number}\n" for number in range(rows)]
    return ("email,first name,last name\n" + "".join(lines)).encode()


def plain_copy(stage: Stage, file: bytes) -> float:
    """Rows/s of a COPY into a table without keys, policies or indexes: the same file, read and checked, the same columns."""
    with psycopg.connect(stage.admin_url, autocommit=True) as connection:
        connection.execute(_PLAIN)
        began = time.perf_counter()
        rows = csv.reader(StringIO(file.decode()))
        next(rows)
        count, now = 0, datetime.now(UTC)
        with connection.cursor().copy(_COPY) as copy:
            for row in rows:
                address = EmailAddress.parse(row[0])
                copy.write_row(
                    (new_id(), address.text, address.digest, row[1], row[2], "subscribed", now, "{}")
                )
                count += 1
        taken = time.perf_counter() - began
        connection.execute("DROP TABLE plain")
    return count / taken


async def imported(stage: Stage, file: bytes, pid: int) -> tuple[float, float]:
    """Rows/s of an import by a running process, into the list, and the most MiB that the process had resident."""
    url = Secret(stage.environment["DATABASE_URL"])
    async with Database(url, schema="contacts") as database:
        with Upload() as upload:
            for start in range(0, len(file), 1 << 20):
                await upload.write(file[start : start + (1 << 20)])
            async with database.tenant_transaction(stage.context) as session:
                waiting = await create_import(session, Options(list_id=stage.list_id), upload)
    process, most = psutil.Process(pid), 0
    looked = f"SELECT status, processed_rows, failed_rows FROM imports WHERE id = '{waiting.id}'"  # noqa: S608 - a UUID
    began = time.perf_counter()
    while (row := stage.look(looked)[0])[0] != "completed":
        if row[0] == "pending":
            began = time.perf_counter()
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(0.05)
    taken = time.perf_counter() - began
    if row[2]:
        raise SystemExit(f"{row[2]} rows were refused")
    return int(str(row[1])) / taken, most / 2**20
