"""PreferencesService: the links in mail behind which a person says whether they want more of it."""

from functools import partial
from urllib.parse import parse_qs

from google.api.httpbody_pb2 import HttpBody

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import FieldViolation, InvalidRequest
from flownurture.suppression.v1 import preferences_pb2 as pb
from services.sending.gathering import Gathering
from services.sending.preference_links import PreferenceLinks, Preferences, Return
from services.sending.suppression.pages import (
    check_inbox_page,
    expired_page,
    preferences_page,
    return_page,
    returned_page,
    unsubscribed_page,
)
from services.sending.suppression.preferences import ask_to_return, is_still_good, standing_of
from services.sending.suppression.resubscriptions import Resubscriptions
from services.sending.suppression.suppressions import welcome_back
from services.sending.unsubscribe_links import OptOut

_HTML = "text/html; charset=utf-8"


class PreferencesApi:
    """The link's token is the proof of whose preferences they are."""

    service = pb.DESCRIPTOR.services_by_name["PreferencesService"]

    def __init__(
        self,
        database: Database,
        opting_out: Gathering[OptOut],
        links: PreferenceLinks,
        resubscriptions: Resubscriptions,
    ) -> None:
        self._database = database
        self._opting_out = opting_out
        self._links = links
        self._resubscriptions = resubscriptions

    async def get_preferences_page(
        self, request: pb.GetPreferencesPageRequest, context: RequestContext
    ) -> HttpBody:
        """How it is; it changes nothing, since prefetchers follow links. NOT_FOUND for a forged link."""
        link = self._links.open(request.token)
        async with self._database.tenant_transaction(link.context, read_only=True) as session:
            if isinstance(link, Return):
                return _html(return_page() if await is_still_good(session, link) else expired_page())
            standing = await standing_of(session, link.digest)
        return _html(preferences_page(opted_out=standing.opted_out, kept_out=standing.kept_out))

    async def change_preferences(
        self, request: pb.ChangePreferencesRequest, context: RequestContext
    ) -> HttpBody:
        """Opt out, ask to come back, or come back: committed before it answers. NOT_FOUND for a forged link."""
        link = self._links.open(request.token)
        if isinstance(link, Return):
            return _html(await self._come_back(link))
        if _choice(request.body) == "unsubscribe":
            await self._opting_out.work_on(link.context, OptOut(link.context, link.message_id, link.digest))
            return _html(unsubscribed_page())
        await self._ask_to_return(link)
        return _html(check_inbox_page())

    async def _come_back(self, link: Return) -> bytes:
        async with self._database.tenant_transaction(link.context, read_only=True) as session:
            still_good = await is_still_good(session, link)
            opted_out = (await standing_of(session, link.digest)).opted_out
        if not still_good:
            return expired_page()
        if opted_out:
            await self._resubscriptions.add_by_link(link)
            async with self._database.tenant_transaction(link.context) as session:
                await welcome_back(session, link.digest)
        return returned_page()

    async def _ask_to_return(self, link: Preferences) -> None:
        return_url = partial(self._links.return_url, link.context.organization, link.digest)
        async with self._database.tenant_transaction(link.context) as session:
            if (await standing_of(session, link.digest)).opted_out:
                await ask_to_return(session, link, return_url)


def _choice(body: HttpBody) -> str:
    """What a browser sends of the page's form. Raises InvalidRequest."""
    choices: list[str] = parse_qs(body.data.decode(errors="replace")).get("choice", [])
    if choices not in (["unsubscribe"], ["subscribe"]):
        raise InvalidRequest(FieldViolation("choice", "must be unsubscribe or subscribe"))
    return choices[0]


def _html(page: bytes) -> HttpBody:
    return HttpBody(content_type=_HTML, data=page)
