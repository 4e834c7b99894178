"""What is read of a CRM at a time, whatever the size of its pages and wherever it stops."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from services.integrations.crm.errors import (
    Broken,
    CrmError,
    CursorLost,
    QuotaExhausted,
    RateLimited,
    Unauthorized,
)
from services.integrations.crm.records import Page, Property, Record
from services.integrations.sync.reading import read_changes

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


@dataclass
class Shows:
    """A CRM that shows so many records in pages of its own size, and stops for a reason at a page."""

    records: int
    size: int
    stops_at: int = -1
    reason: CrmError = field(default_factory=Unauthorized)
    asked: list[tuple[str | None, int]] = field(default_factory=list)

    async def changed(self, cursor: str | None, properties: Sequence[Property], limit: int) -> Page:
        if len(self.asked) == self.stops_at:
            raise self.reason
        self.asked.append((cursor, limit))
        start = int(cursor or 0)
        end = min(start + min(self.size, limit), self.records)
        page = [Record(str(number), None, {}, False, NOON) for number in range(start, end)]
        return Page(page, str(end), is_last=end == self.records)


async def read(crm: Any, most: int) -> tuple[list[str], str, bool]:
    page = await read_changes(crm, None, [], most)
    return [record.id for record in page.records], page.cursor, page.is_last


def ids(number: int) -> list[str]:
    return [str(each) for each in range(number)]


@pytest.mark.parametrize(
    ("crm", "read_at_once", "calls"),
    [
        (Shows(records=100, size=10), 30, 3),
        (Shows(records=100, size=14), 28, 2),
        (Shows(records=100, size=30), 30, 1),
        (Shows(records=100, size=500), 30, 1),
        (Shows(records=25, size=10), 25, 3),
        (Shows(records=10, size=10), 10, 1),
        (Shows(records=0, size=10), 0, 1),
    ],
    ids=["small", "no part of one", "as large", "larger", "to the end", "one alone", "none"],
)
async def test_small_pages_are_read_together_whole_and_as_many_as_fit(
    crm: Shows, read_at_once: int, calls: int
) -> None:
    assert await read(crm, 30) == (ids(read_at_once), str(read_at_once), read_at_once == crm.records)
    assert len(crm.asked) == calls


@pytest.mark.parametrize(
    ("reason", "wait"), [(RateLimited(7.0), 7.0), (Broken(), 0.0), (QuotaExhausted(NOON), 0.0)]
)
async def test_what_was_read_is_kept_where_the_crm_goes_on_later(reason: CrmError, wait: float) -> None:
    crm: Any = Shows(records=100, size=10, stops_at=2, reason=reason)
    page = await read_changes(crm, None, [], 30)
    assert [record.id for record in page.records] == ids(20)
    assert (page.cursor, page.is_last, page.wait) == ("20", False, wait)


@pytest.mark.parametrize("reason", [Unauthorized(), CursorLost()])
async def test_nothing_is_settled_of_an_account_that_is_closed_meanwhile_or_must_be_read_anew(
    reason: CrmError,
) -> None:
    crm: Any = Shows(records=100, size=10, stops_at=2, reason=reason)
    with pytest.raises(type(reason)):
        await read_changes(crm, None, [], 30)
