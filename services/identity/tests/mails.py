"""The links in the mails that identity has ordered, as their receivers would find them."""

import json
import re
from base64 import b64encode
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import text

from chassis.database import Database
from chassis.sealed_mail import SealedMails
from chassis.secret import Secret
from chassis.vault.file_wrapping import FileWrapping
from flownurture.events.v1.envelope_pb2 import Envelope
from flownurture.identity.v1.events_pb2 import SendAccountMail
from flownurture.sending.v1.sealed_mail_pb2 import MailBody
from services.identity.tests.edge import Person

# What wraps the keys of identity's mails in its tests, which open them as the delivery process would.
_KEYS = {"tests": Secret(b64encode(bytes(range(32))).decode())}
ENVIRONMENT = {"MAIL_KEY_ENCRYPTION_KEYS": json.dumps({name: key.reveal() for name, key in _KEYS.items()})}
SEALED = SealedMails(FileWrapping(_KEYS))

_ORDERS = text("SELECT envelope FROM outbox ORDER BY id")


async def tokens(database: Database, owner: Person, page: str) -> list[str]:
    """The tokens of all links to a page in the mails of the owner's organization, oldest first."""
    async with database.tenant_transaction(owner.context) as session:
        envelopes = (await session.execute(_ORDERS)).scalars().all()
    return await tokens_in(envelopes, page)


async def tokens_in(envelopes: Iterable[bytes], page: str) -> list[str]:
    """The tokens of all links to a page in the mails that these events order."""
    link = re.compile(rf"/account/{page}/([\w-]{{43}})")
    bodies = [await _body(Envelope.FromString(envelope)) for envelope in envelopes]
    return [match[1] for body in bodies if body is not None and (match := link.search(body.text))]


async def _body(event: Envelope) -> MailBody | None:
    if event.type != SendAccountMail.DESCRIPTOR.full_name:
        return None
    order = SendAccountMail.FromString(event.payload)
    if not order.sealed_body:
        return None
    return await SEALED.open(order.sealed_body, UUID(event.id), order.to)


async def newest(database: Database, owner: Person, page: str) -> str:
    """The token of the newest such link."""
    return (await tokens(database, owner, page))[-1]
