"""Pipedrive: its API v2 (https://developers.pipedrive.com/docs/api/v1), and v1 for what v2 has not."""

from services.integrations.crm.adapter import Access
from services.integrations.crm.calls import Calls, limited
from services.integrations.crm.errors import Broken, CrmError, Forbidden, Rejected
from services.integrations.crm.http_client import Answer, HttpClient
from services.integrations.crm.oauth import Endpoints, told_by
from services.integrations.crm.provider import Addresses, Provider
from services.integrations.crm.records import Account

# In which header a key of the account's own goes.
_KEY_HEADER = "x-api-token"


def _endpoints(addresses: Addresses) -> Endpoints:
    """The app shows itself by HTTP Basic; answers with tokens name the company's own address."""
    return Endpoints(
        f"{addresses.consent}/oauth/authorize",
        f"{addresses.tokens}/oauth/token",
        f"{addresses.tokens}/oauth/revoke",
        told_by("api_domain", ("pipedrive.com",), addresses.api),
        is_basic=True,
    )


async def _account_of(http: HttpClient, access: Access) -> Account:
    """By the company of who connects it (https://developers.pipedrive.com/docs/api/v1/Users#getCurrentUser)."""
    calls = Calls(http, access, _refusal, key_header=_KEY_HEADER)
    told = (await calls.send("GET", "/api/v1/users/me")).object().get("data")
    if not isinstance(told, dict) or "company_id" not in told or "company_name" not in told:
        raise Broken("The CRM does not say whose account it is.")
    return Account(str(told["company_id"]), str(told["company_name"]))


def _refusal(answer: Answer) -> CrmError:
    if answer.status == 429:
        return limited(answer)
    return Forbidden() if answer.status == 403 else Rejected(str(answer.status))


PIPEDRIVE = Provider(
    name="pipedrive",
    title="Pipedrive",
    scopes=("base", "contacts:full", "activities:full"),
    public=Addresses(
        "https://oauth.pipedrive.com", "https://oauth.pipedrive.com", "https://api.pipedrive.com"
    ),
    endpoints=_endpoints,
    takes_api_keys=True,
    names=("first_name", "last_name"),
    account_of=_account_of,
)
