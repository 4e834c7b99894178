"""Where the links of mailings lead: by number, as they were when the campaign was launched or the workflow made ready, for as long as mails
are kept.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy import select, text

from chassis.context import RequestContext
from chassis.database import Database, TenantSession
from chassis.errors import NotFound
from services.sending.tables import campaign_links
from services.sending.tracking.places import tracked_urls

_MAILINGS_KNOWN = 1_000

_KEEP = text("""
    INSERT INTO campaign_links (campaign_id, number, url)
    SELECT * FROM unnest(CAST(:mailing_ids AS uuid[]), CAST(:numbers AS int[]), CAST(:urls AS text[]))
""")


async def keep_links(session: TenantSession, htmls: Mapping[UUID, str]) -> None:
    """Number the links of mailings that begin to be sent: of each by itself."""
    links = [
        (mailing_id, number, url)
        for mailing_id, html in htmls.items()
        for number, url in enumerate(tracked_urls(html), 1)
    ]
    if links:
        mailing_ids, numbers, urls = map(list, zip(*links, strict=True))
        await session.execute(_KEEP, {"mailing_ids": mailing_ids, "numbers": numbers, "urls": urls})


async def numbers_of(
    session: TenantSession, mailing_ids: Collection[UUID]
) -> Mapping[UUID, Mapping[str, int]]:
    """The numbers of the links of each mailing that has any, by where they lead."""
    links = select(campaign_links.c.campaign_id, campaign_links.c.url, campaign_links.c.number)
    numbers: dict[UUID, dict[str, int]] = defaultdict(dict)
    for row in await session.execute(links.where(campaign_links.c.campaign_id.in_(mailing_ids))):
        numbers[row.campaign_id][row.url] = row.number
    return numbers


class Targets:
    """Finds where links lead, and remembers it for the mailings that were asked for last: it never changes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[UUID, Mapping[int, str]] = OrderedDict()

    async def of(self, context: RequestContext, mailing_id: UUID, number: int) -> str:
        """Where a link of a mailing leads. Raises NotFound, or Unavailable when it is not remembered and cannot be read."""
        if mailing_id not in self._known:
            await self._learn(context, mailing_id)
        self._known.move_to_end(mailing_id)
        target = self._known[mailing_id].get(number)
        if target is None:
            raise NotFound("link")
        return target

    async def _learn(self, context: RequestContext, mailing_id: UUID) -> None:
        async with self._database.tenant_transaction(context, read_only=True) as session:
            numbers = (await numbers_of(session, [mailing_id])).get(mailing_id, {})
        self._known[mailing_id] = {number: url for url, number in numbers.items()}
        if len(self._known) > _MAILINGS_KNOWN:
            self._known.popitem(last=False)
