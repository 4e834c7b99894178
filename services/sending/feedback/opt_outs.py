"""Opting out by mail (RFC 2369 §3.2): whoever writes to the address that a mail named gets no more of them."""

from collections.abc import Iterable

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import NotFound
from services.sending.signed_addresses import UnsubscribeAddresses
from services.sending.suppression.suppressions import opt_out_by_message


class OptOuts:
    """The address is the proof, as the token of a link is: who writes to it, and what, is not looked at."""

    def __init__(self, database: Database, addresses: UnsubscribeAddresses) -> None:
        self._database = database
        self._addresses = addresses

    async def honour(self, recipients: Iterable[str]) -> None:
        """Opt out by each of these addresses that is genuine; in force once this returns. Raises Unavailable."""
        for recipient in recipients:
            try:
                organization, message_id = self._addresses.open(recipient)
            except NotFound:
                continue
            context = RequestContext.of_process("feedback", organization)
            async with self._database.tenant_transaction(context) as session:
                await opt_out_by_message(session, message_id)
