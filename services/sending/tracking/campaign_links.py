"""Where the links of campaigns lead: by number, as they were when the campaign was launched, and for as long as mails are kept."""

from collections import OrderedDict
from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import select, text

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import NotFound
from services.sending.tables import campaign_links
from services.sending.tracking.places import tracked_urls

_CAMPAIGNS_KNOWN = 1_000

_KEEP = text("""
    INSERT INTO campaign_links (campaign_id, number, url)
    SELECT * FROM unnest(CAST(:campaign_ids AS uuid[]), CAST(:numbers AS int[]), CAST(:urls AS text[]))
""")


async def keep_links(session: TenantSession, htmls: Mapping[UUID, str]) -> None:
    """Number the links of campaigns, or of workflows' mails, that begin to be sent: of each by itself."""
    links = [
        (campaign_id, number, url)
        for campaign_id, html in htmls.items()
        for number, url in enumerate(tracked_urls(html), 1)
    ]
    if links:
        campaign_ids, numbers, urls = map(list, zip(*links, strict=True))
        await session.execute(_KEEP, {"campaign_ids": campaign_ids, "numbers": numbers, "urls": urls})


async def numbers_of(session: TenantSession, campaign_id: UUID) -> Mapping[str, int]:
    """The numbers of a campaign's links, by where they lead."""
    links = select(campaign_links.c.url, campaign_links.c.number)
    found = await session.execute(links.where(campaign_links.c.campaign_id == campaign_id))
    return {row.url: row.number for row in found}


class Targets:
    """Finds where links lead, and remembers it for the campaigns that were asked for last: it never changes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[UUID, Mapping[int, str]] = OrderedDict()

    async def of(self, context: RequestContext, campaign_id: UUID, number: int) -> str:
        """Where a link of a campaign leads. Raises NotFound, or Unavailable when it is not remembered and cannot be read."""
        if campaign_id not in self._known:
            await self._learn(context, campaign_id)
        self._known.move_to_end(campaign_id)
        target = self._known[campaign_id].get(number)
        if target is None:
            raise NotFound("link")
        return target

    async def _learn(self, context: RequestContext, campaign_id: UUID) -> None:
        async with self._database.tenant_transaction(context, read_only=True) as session:
            numbers = await numbers_of(session, campaign_id)
        self._known[campaign_id] = {number: url for url, number in numbers.items()}
        if len(self._known) > _CAMPAIGNS_KNOWN:
            self._known.popitem(last=False)
