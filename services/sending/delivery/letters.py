"""From claimed messages and what they are made from to the signed mails in their envelopes."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from chassis.context import RequestContext
from chassis.errors import InvalidRequest
from services.sending.delivery.carriers import Carrier
from services.sending.delivery.claims import Claimed
from services.sending.delivery.dkim import signatures
from services.sending.delivery.drafts import Draft
from services.sending.delivery.mime import Addressee, Mail, wire_form
from services.sending.delivery.smtp.envelope import Envelope
from services.sending.opt_out_footer import OptingOut
from services.sending.preference_links import PreferenceLinks
from services.sending.signed_addresses import CarriedTokens, ReturnPaths, UnsubscribeAddresses
from services.sending.templating.merge_fields import contact
from services.sending.unsubscribe_links import UnsubscribeLinks


@dataclass(frozen=True, slots=True)
class Written:
    """The mails to messages, and why some cannot be written."""

    envelopes: Mapping[UUID, Envelope]
    refusals: Mapping[UUID, str] = field(default_factory=dict)


class Letters:
    """Writes mails, each with links and a return path of its own."""

    def __init__(
        self,
        links: UnsubscribeLinks,
        preference_links: PreferenceLinks,
        return_paths: ReturnPaths,
        unsubscribe_addresses: UnsubscribeAddresses,
        carried_tokens: CarriedTokens,
    ) -> None:
        self._links = links
        self._preference_links = preference_links
        self._return_paths = return_paths
        self._unsubscribe_addresses = unsubscribe_addresses
        self._carried_tokens = carried_tokens

    async def write(
        self,
        context: RequestContext,
        claimed: Sequence[Claimed],
        drafts: Mapping[UUID, Draft],
        carrier: Carrier | None = None,
    ) -> Written:
        """Write and sign the mails of a chunk; other chunks go on while this one's are signed.

        With a `carrier` each has a token for the provider that it is handed to.
        """
        mails: dict[UUID, Mail] = {}
        refusals: dict[UUID, str] = {}
        for message in claimed:
            try:
                mails[message.id] = self._mail(context, message, drafts[message.id], carrier)
            except InvalidRequest as unwritable:
                refusals[message.id] = unwritable.message
        contents = await _sign(mails, drafts)
        envelopes = {
            message.id: self._envelope(context, message, drafts[message.id], contents[message.id])
            for message in claimed
            if message.id in contents
        }
        return Written(envelopes, refusals)

    def _mail(self, context: RequestContext, message: Claimed, draft: Draft, carrier: Carrier | None) -> Mail:
        opting_out = self._opting_out(context, message, draft) if draft.offers_opt_out else None
        data = {
            "campaign": draft.campaign or {},
            "contact": contact(message.email, message.merge_fields),
            "unsubscribe_url": opting_out.url if opting_out else "",
            "preferences_url": opting_out.preferences_url if opting_out else "",
        }
        token = draft.tracking_token(context.organization, message)
        carried = (
            carrier.field(self._carried_tokens.token(context.organization, message.id)) if carrier else b""
        )
        return draft.skeleton.mail(
            Addressee(message.id, wire_form(message.email), data, opting_out, token, carried)
        )

    def _opting_out(self, context: RequestContext, message: Claimed, draft: Draft) -> OptingOut:
        organization = context.organization
        return OptingOut(
            self._links.url(organization, message.id, message.digest),
            self._preference_links.url(organization, message.id, message.digest),
            self._unsubscribe_addresses.address(organization, message.id, draft.hostname),
        )

    def _envelope(self, context: RequestContext, message: Claimed, draft: Draft, content: bytes) -> Envelope:
        recipient = wire_form(message.email)
        return Envelope(
            sender=self._return_paths.address(context.organization, message.id, draft.identity.return_domain),
            recipient=recipient,
            content=content,
            internationalized=draft.skeleton.internationalized or not recipient.isascii(),
        )


async def _sign(mails: Mapping[UUID, Mail], drafts: Mapping[UUID, Draft]) -> Mapping[UUID, bytes]:
    if not any(drafts[message_id].identity.keys for message_id in mails):
        return {message_id: mail.content for message_id, mail in mails.items()}
    now = int(time.time())

    def signed() -> Mapping[UUID, bytes]:
        return {
            message_id: signatures(drafts[message_id].identity.keys, mail.header, mail.body, now=now)
            + mail.content
            for message_id, mail in mails.items()
        }

    # Most of it is arithmetic, which leaves the interpreter to others.
    return await asyncio.to_thread(signed)
