"""Whose account a credential opens: asked once, when it is connected, which also tells whether the credential is good."""

from dataclasses import dataclass

from chassis.secret import Secret
from services.integrations.crm.errors import Unauthorized
from services.integrations.crm.http_client import HttpClient
from services.integrations.crm.providers import PROVIDERS
from services.integrations.crm.records import Account

_LONGEST_ID = 100
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class FreshAccess:
    """Access to an account that is not connected yet, by what is to connect it."""

    base_url: str
    is_api_key: bool
    credential: Secret

    async def token(self) -> Secret:
        """What to send."""
        return self.credential

    async def renewed(self, stale: Secret) -> Secret:
        """Raises Unauthorized: there is nothing else."""
        raise Unauthorized


async def account_of(http: HttpClient, provider: str, access: FreshAccess) -> Account:
    """The account that a credential opens. Raises the errors of `crm.errors`."""
    found = await PROVIDERS[provider].crm(http, access).account()
    return Account(found.id[:_LONGEST_ID], found.name[:_LONGEST_NAME])
