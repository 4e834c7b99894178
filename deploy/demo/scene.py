"""What the acts of the story share: the clients, the inbox, the screen, the ledger, and what they have found so far."""

from dataclasses import dataclass, field

import httpx

from deploy.demo.checks import Ledger
from deploy.demo.client import Client, Json
from deploy.demo.inbox import Inbox, Mail
from deploy.demo.people import PeopleFile
from deploy.demo.screen import Screen


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization that signed up for this run: its owner's login, session and API key."""

    id: str
    name: str
    owner_email: str
    password: str
    owner: Client
    key: Client


@dataclass(frozen=True, slots=True)
class CampaignRun:
    """A campaign that was launched and came to its end."""

    id: str
    subject: str
    report: Json
    mail: list[Mail]


@dataclass(slots=True)
class Scene:
    """Acts come in order: each finds here what those before it left."""

    run: str
    api: httpx.AsyncClient
    inbox: Inbox
    screen: Screen
    ledger: Ledger
    file: PeopleFile
    organizations: list[Organization] = field(default_factory=list)
    shop: Organization = field(init=False)
    rival: Organization = field(init=False)
    list_id: str = field(init=False)
    import_id: str = field(init=False)
    first_campaign: CampaignRun = field(init=False)
    unsubscribed: list[str] = field(init=False)
    one_off_id: str = field(init=False)
