"""HubSpot: its public API of version 2026-03 (https://developers.hubspot.com/docs/api-reference/latest)."""

from services.integrations.crm.oauth import Endpoints, at
from services.integrations.crm.provider import Addresses, Provider

_VERSION = "2026-03"


def _endpoints(addresses: Addresses) -> Endpoints:
    """The dated ones: those of v1, which took secrets in the URL, end in February 2027."""
    token = f"{addresses.tokens}/oauth/{_VERSION}/token"
    return Endpoints(f"{addresses.consent}/oauth/authorize", token, f"{token}/revoke", at(addresses.api))


HUBSPOT = Provider(
    name="hubspot",
    title="HubSpot",
    scopes=(
        "oauth",
        "crm.objects.contacts.read",
        "crm.objects.contacts.write",
        "crm.schemas.contacts.read",
        "communication_preferences.statuses.batch.write",
    ),
    public=Addresses("https://app.hubspot.com", "https://api.hubapi.com", "https://api.hubapi.com"),
    endpoints=_endpoints,
    takes_api_keys=True,
)
