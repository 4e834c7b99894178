"""`python -m bench.contacts`: imports, segments, audiences and the cost of row-level security, at a million contacts.

Everything is measured in one run, on servers of its own (PostgreSQL without fsync), and the last line is JSON.
"""

import asyncio
import json
import os
import platform
from typing import Annotated, Any

import typer

from bench.contacts.importing import file_of, imported, plain_copy
from bench.contacts.reading import cost_of_policies, previewed, streamed
from bench.contacts.stage import Stage, stage

_ROWS_PER_SECOND = 25_000
_SHARE_OF_COPY = 0.4
_MOST_MIB = 200
_MOST_PREVIEW_SECONDS = 1.0
_RECIPIENTS_PER_SECOND = 100_000
_MOST_COST_OF_POLICIES = 1.10


def main(
    contacts: Annotated[int, typer.Option(help="Contacts that the organization has.")] = 1_000_000,
    rows: Annotated[int, typer.Option(help="Rows of the large file.")] = 2_000_000,
) -> None:
    """Measure; exits with 1 when a stated figure is not met."""
    with stage(contacts) as made:
        figures = asyncio.run(_figures(made, rows))
    figures["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps(figures))
    raise typer.Exit(0 if figures["meets"] else 1)


async def _figures(made: Stage, rows: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    figures["preview_seconds"] = round(await previewed(made), 3)
    figures["times_as_long_with_policies"] = {
        name: round(ratio, 3) for name, ratio in cost_of_policies(made).items()
    }
    with made.process() as process:
        figures["recipients_per_second"] = round(await streamed(made))
        _, small = await imported(made, file_of(10_000, "small"), process.pid)
        sample = file_of(200_000, "middle")
        figures["copy_rows_per_second"] = round(plain_copy(made, sample))
        rate, _ = await imported(made, sample, process.pid)
        figures["import_rows_per_second"] = round(rate)
        figures["import_of_copy"] = round(rate / figures["copy_rows_per_second"], 3)
        long_rate, large = await imported(made, file_of(rows, "large"), process.pid)
        figures["import_rows_per_second_large_file"] = round(long_rate)
        figures["resident_mib"] = {"10,000 rows": round(small), f"{rows:,} rows": round(large)}
    figures["meets"] = (
        figures["preview_seconds"] <= _MOST_PREVIEW_SECONDS
        and max(figures["times_as_long_with_policies"].values()) <= _MOST_COST_OF_POLICIES
        and figures["recipients_per_second"] >= _RECIPIENTS_PER_SECOND
        and figures["import_rows_per_second"] >= _ROWS_PER_SECOND
        and figures["import_of_copy"] >= _SHARE_OF_COPY
        and large <= _MOST_MIB
    )
    return figures


if __name__ == "__main__":
    typer.run(main)
