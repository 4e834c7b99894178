"""PreferencesService: the links in mail behind which a person says whether they want more of it."""

from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import parse_qs
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import DomainError, FieldViolation, InvalidRequest
from chassis.logs import logger
from chassis.sealed_mail import SealedMails
from flownurture.suppression.v1 import preferences_pb2 as pb
from services.sending.gathering import Gathering
from services.sending.preference_links import PreferenceLinks, Preferences, Return
from services.sending.suppression.contacts_peer import ContactsPeer, ListChoice
from services.sending.suppression.pages import (
    check_inbox_page,
    expired_page,
    lists_not_saved_page,
    preferences_page,
    return_page,
    returned_page,
    unsubscribed_page,
)
from services.sending.suppression.preferences import (
    Standing,
    ask_to_return,
    is_still_good,
    standing_of,
)
from services.sending.suppression.resubscriptions import Resubscriptions
from services.sending.suppression.suppressions import welcome_back
from services.sending.unsubscribe_links import OptOut

_HTML = "text/html; charset=utf-8"
_CHOICES = (["unsubscribe"], ["subscribe"], ["lists"])
# As many as the contract of contacts has on a page.
_MOST_LISTS = 40


class PreferencesApi:
    """The link's token is the proof of whose preferences they are."""

    service = pb.DESCRIPTOR.services_by_name["PreferencesService"]

    def __init__(
        self,
        database: Database,
        opting_out: Gathering[OptOut],
        links: PreferenceLinks,
        resubscriptions: Resubscriptions,
        contacts: ContactsPeer,
        *,
        sealed: SealedMails,
    ) -> None:
        self._database = database
        self._opting_out = opting_out
        self._links = links
        self._resubscriptions = resubscriptions
        self._contacts = contacts
        self._sealed = sealed

    async def get_preferences_page(
        self, request: pb.GetPreferencesPageRequest, context: RequestContext
    ) -> HttpBody:
        """How it is; it changes nothing, since prefetchers follow links. NOT_FOUND for a forged link."""
        link = self._links.open(request.token)
        async with self._database.tenant_transaction(link.context, read_only=True) as session:
            if isinstance(link, Return):
                return _html(return_page() if await is_still_good(session, link) else expired_page())
            standing = await standing_of(session, link.digest)
        lists = await self._lists_of(link, standing)
        return _html(preferences_page(opted_out=standing.opted_out, kept_out=standing.kept_out, lists=lists))

    async def change_preferences(
        self, request: pb.ChangePreferencesRequest, context: RequestContext
    ) -> HttpBody:
        """Opt out, ask to come back, come back, or choose lists: committed before it answers. NOT_FOUND for a forged link."""
        link = self._links.open(request.token)
        if isinstance(link, Return):
            return _html(await self._come_back(link))
        filled_in = parse_qs(request.body.data.decode(errors="replace"))
        choice = _choice(filled_in)
        if choice == "lists":
            return _html(await self._choose_lists(link, filled_in))
        if choice == "unsubscribe":
            await self._opting_out.work_on(link.context, OptOut(link.context, link.message_id, link.digest))
            return _html(unsubscribed_page())
        await self._ask_to_return(link)
        return _html(check_inbox_page())

    async def _lists_of(self, link: Preferences, standing: Standing) -> Sequence[ListChoice] | None:
        """Nothing for who gets no mail anyway; None when contacts does not answer, and the page does without."""
        if standing.opted_out:
            return ()
        try:
            return await self._contacts.list_choices(link.context, link.digest)
        except DomainError:
            logger().warning("lists_not_known", exc_info=True)
            return None

    async def _choose_lists(self, link: Preferences, filled_in: Mapping[str, list[str]]) -> bytes:
        offered, chosen = _list_ids(filled_in, "offered"), _list_ids(filled_in, "list")
        try:
            lists = await self._contacts.choose_lists(
                link.context, link.digest, offered=offered, chosen=chosen
            )
        except DomainError:
            logger().warning("lists_not_saved", exc_info=True)
            return lists_not_saved_page()
        async with self._database.tenant_transaction(link.context, read_only=True) as session:
            standing = await standing_of(session, link.digest)
        return preferences_page(
            opted_out=standing.opted_out,
            kept_out=standing.kept_out,
            lists=() if standing.opted_out else lists,
            saved=True,
        )

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
                await ask_to_return(session, link, return_url, self._sealed)


def _choice(filled_in: Mapping[str, list[str]]) -> str:
    """Which button of the page was pressed. Raises InvalidRequest."""
    choices = filled_in.get("choice", [])
    if choices not in _CHOICES:
        raise InvalidRequest(FieldViolation("choice", "must be unsubscribe, subscribe or lists"))
    return choices[0]


def _list_ids(filled_in: Mapping[str, list[str]], name: str) -> set[UUID]:
    """The lists in a field of the form. Raises InvalidRequest."""
    texts = filled_in.get(name, [])
    if len(texts) > _MOST_LISTS:
        raise InvalidRequest(FieldViolation(name, f"must be at most {_MOST_LISTS} lists"))
    try:
        return set(map(UUID, texts))
    except ValueError:
        raise InvalidRequest(FieldViolation(name, "must be ids of lists")) from None


def _html(page: bytes) -> HttpBody:
    return HttpBody(content_type=_HTML, data=page)
