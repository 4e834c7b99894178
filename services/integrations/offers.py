"""The CRMs that the platform's operator has set up: what there is to connect with."""

from collections.abc import Mapping
from dataclasses import dataclass

from chassis.errors import Conflict
from services.integrations.crm.http_client import HttpClient
from services.integrations.crm.oauth import Authorization
from services.integrations.crm.provider import Provider
from services.integrations.crm.providers import PROVIDERS
from services.integrations.settings import CrmSettings


class NotSetUp(Conflict):
    """The platform's operator has not set a CRM up, or not for this."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A CRM that accounts can be connected of. `key_base_url` is where those are that are connected by a key."""

    provider: Provider
    key_base_url: str
    # None where the operator has registered no app with it.
    oauth: Authorization | None


class Offers:
    """The CRMs that there are to connect with, by name."""

    def __init__(self, offers: Mapping[str, Offer]) -> None:
        self._offers = offers

    def of(self, name: str) -> Offer:
        """A CRM. Raises NotSetUp."""
        offer = self._offers.get(name)
        if offer is None:
            raise NotSetUp(f"{title_of(name)} is not set up on this platform.")
        return offer

    def names(self) -> list[str]:
        """All of them."""
        return list(self._offers)

    def with_app(self) -> list[str]:
        """The names of those with which an app is registered."""
        return [name for name, offer in self._offers.items() if offer.oauth is not None]

    def oauth(self, name: str) -> Authorization:
        """How one agrees to be connected. Raises NotSetUp."""
        oauth = self.of(name).oauth
        if oauth is None:
            raise NotSetUp(f"No app of this platform is registered with {title_of(name)}.")
        return oauth


def title_of(name: str) -> str:
    """A CRM as people know it."""
    return PROVIDERS[name].title


def offers_of(crms: Mapping[str, CrmSettings], http: HttpClient) -> Offers:
    """What the settings name."""
    return Offers({name: _offer(PROVIDERS[name], told, http) for name, told in crms.items()})


def _offer(provider: Provider, told: CrmSettings, http: HttpClient) -> Offer:
    addresses = told.addresses(provider.public)
    app = told.app()
    return Offer(
        provider,
        addresses.api,
        provider.authorization(http, app, addresses) if app is not None else None,
    )
