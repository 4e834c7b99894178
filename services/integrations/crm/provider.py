"""What there is to know of a CRM before anybody has connected an account of it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from chassis.secret import Secret
from services.integrations.crm.adapter import Access, Crm
from services.integrations.crm.http_client import HttpClient
from services.integrations.crm.oauth import App, Authorization, Endpoints


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a CRM is: where people consent, where tokens are given, and where the API is as long as no account says otherwise."""

    consent: str
    tokens: str
    api: str


@dataclass(frozen=True, slots=True)
class Post:
    """What was posted to `url`, the public one, with what says that it is the CRM's."""

    url: str
    body: bytes
    signature: str
    timestamp: str


@dataclass(frozen=True, slots=True)
class Provider:
    """A CRM that accounts can be connected of. `public` is where the world finds it; the operator may have it elsewhere."""

    name: str
    title: str
    # What a connection asks for: no more than the adapter needs.
    scopes: tuple[str, ...]
    public: Addresses
    endpoints: Callable[[Addresses], Endpoints]
    takes_api_keys: bool
    # The properties of contacts that are their first and their last name.
    names: tuple[str, str]
    # An account of it, by what opens it.
    crm: Callable[[HttpClient, Access], Crm]
    # The ids of the accounts that a post tells of, by the app's secret and the time; None where the CRM has not signed it just now.
    # No such function where a CRM signs nothing: then its posts are not taken.
    accounts_told: Callable[[Secret, Post, datetime], Collection[str] | None] | None = None

    def authorization(self, http: HttpClient, app: App, addresses: Addresses) -> Authorization:
        """How accounts of it are connected with OAuth, by the operator's app."""
        return Authorization(http, app, self.endpoints(addresses))
