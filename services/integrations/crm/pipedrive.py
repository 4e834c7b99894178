"""Pipedrive: its API v2 (https://developers.pipedrive.com/docs/api/v1), and v1 for what v2 has not."""

from services.integrations.crm.oauth import Endpoints, told_by
from services.integrations.crm.provider import Addresses, Provider


def _endpoints(addresses: Addresses) -> Endpoints:
    """The app shows itself by HTTP Basic; answers with tokens name the company's own address."""
    return Endpoints(
        f"{addresses.consent}/oauth/authorize",
        f"{addresses.tokens}/oauth/token",
        f"{addresses.tokens}/oauth/revoke",
        told_by("api_domain", ("pipedrive.com",), addresses.api),
        is_basic=True,
    )


PIPEDRIVE = Provider(
    name="pipedrive",
    title="Pipedrive",
    scopes=("base", "contacts:full", "activities:full"),
    public=Addresses(
        "https://oauth.pipedrive.com", "https://oauth.pipedrive.com", "https://api.pipedrive.com"
    ),
    endpoints=_endpoints,
    takes_api_keys=True,
)
