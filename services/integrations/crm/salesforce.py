"""Salesforce: its REST and Bulk API 2.0 (https://developer.salesforce.com/docs/platform/api-rest)."""

from services.integrations.crm.oauth import Endpoints, told_by
from services.integrations.crm.provider import Addresses, Provider

# My Domain names of all kinds of orgs end so.
_DOMAINS = ("salesforce.com", "force.com", "salesforce.mil")


def _endpoints(addresses: Addresses) -> Endpoints:
    """Answers with tokens name the org's own address, and a new refresh token where the app rotates them."""
    return Endpoints(
        f"{addresses.consent}/services/oauth2/authorize",
        f"{addresses.tokens}/services/oauth2/token",
        f"{addresses.tokens}/services/oauth2/revoke",
        told_by("instance_url", _DOMAINS, addresses.api),
    )


SALESFORCE = Provider(
    name="salesforce",
    title="Salesforce",
    scopes=("api", "refresh_token"),
    public=Addresses(
        "https://login.salesforce.com", "https://login.salesforce.com", "https://login.salesforce.com"
    ),
    endpoints=_endpoints,
    takes_api_keys=False,
)
