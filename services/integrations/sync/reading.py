"""Reading what has changed in a CRM: as much at a time as is settled together, however little of it the CRM shows in one page."""

from collections.abc import Sequence
from dataclasses import replace

from services.integrations.crm.adapter import Crm
from services.integrations.crm.errors import Broken, QuotaExhausted, RateLimited
from services.integrations.crm.records import Page, Property


async def read_changes(crm: Crm, cursor: str | None, properties: Sequence[Property], most: int) -> Page:
    """What changed behind a cursor, as one page of `most` records at most: a step costs as much for a small one as for a large one.

    What was read is kept where the CRM does not go on: it is asked again behind that. Raises as `Crm.changed` does.
    """
    page = await crm.changed(cursor, properties, most)
    # No part of one is asked for: each is a call, whatever is in it.
    size = len(page.records)
    while size and not page.is_last and not page.wait and len(page.records) + size <= most:
        try:
            following = await crm.changed(page.cursor, properties, most - len(page.records))
        except RateLimited as limit:
            return replace(page, wait=limit.retry_after)
        except (Broken, QuotaExhausted):
            return page
        page = replace(following, records=[*page.records, *following.records])
    return page
