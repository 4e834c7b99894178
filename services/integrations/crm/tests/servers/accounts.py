"""Accounts of each CRM on this machine, as the people who work in them use them, whichever it is."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Protocol

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response

from services.integrations.crm.hubspot import HubSpot
from services.integrations.crm.pipedrive import Pipedrive
from services.integrations.crm.records import Kind, Property, Record, Value
from services.integrations.crm.salesforce import Salesforce
from services.integrations.crm.stand_ins import is_stand_in
from services.integrations.crm.tests.servers.hubspot import HubSpotAccount
from services.integrations.crm.tests.servers.pipedrive import POINTS, PipedriveCompany
from services.integrations.crm.tests.servers.salesforce import SalesforceOrg


class Server(Protocol):
    """What answers for an account."""

    tokens: set[str]
    instead: list[Response]
    ends_after: int | None
    calls: list[Any]
    now: datetime

    def app(self) -> Starlette:
        """It, to be served."""


class LocalAccount(ABC):
    """One account. Values of a person are `given`, `family` and `points`, whatever the CRM calls them."""

    crm: ClassVar[type[HubSpot | Salesforce | Pipedrive]]
    given: ClassVar[Property]
    family: ClassVar[Property]
    points: ClassVar[Property]
    server: Server

    @abstractmethod
    def quota(self) -> Response:
        """In place of an answer: that the calls of the day are used up."""

    @abstractmethod
    def add(self, email: str | None, **values: Value) -> str:
        """Somebody makes a contact; its id."""

    @abstractmethod
    def edit(self, record_id: str, email: str | None = None, **values: Value) -> None:
        """Somebody edits it."""

    @abstractmethod
    def say_opted_out(self, record_id: str, opted_out: bool = True) -> None:
        """Somebody notes that a person has opted out, or that they have not."""

    @abstractmethod
    def archive(self, record_id: str) -> None:
        """Somebody takes it away."""

    @abstractmethod
    def at_one_moment(self, record_ids: Sequence[str]) -> None:
        """All of these are changed a second later."""

    @abstractmethod
    def live(self) -> list[Record]:
        """Everybody whom people see."""

    @abstractmethod
    def state(self) -> str:
        """All of it, to be compared."""

    @abstractmethod
    def history(self, record_id: str) -> list[str]:
        """What is told in a contact's history, as it stands there."""


class HubSpotPeople(LocalAccount):
    """Works in an account of HubSpot."""

    crm = HubSpot
    server: HubSpotAccount
    given = Property("firstname", "First name", Kind.TEXT)
    family = Property("lastname", "Last name", Kind.TEXT)
    points = Property("points", "Points", Kind.NUMBER)

    def __init__(self) -> None:
        self.server = HubSpotAccount()

    def quota(self) -> Response:
        return JSONResponse({"policyName": "DAILY", "message": "token-1"}, 429)

    def add(self, email: str | None, **values: Value) -> str:
        return self.server.add(email, **self._named(values))

    def edit(self, record_id: str, email: str | None = None, **values: Value) -> None:
        self.server.edit(record_id, **({"email": email.lower()} if email else {}), **self._named(values))

    def say_opted_out(self, record_id: str, opted_out: bool = True) -> None:
        self.server.edit(record_id, hs_email_optout=str(opted_out).lower())

    def archive(self, record_id: str) -> None:
        del self.server.contacts[record_id]

    def at_one_moment(self, record_ids: Sequence[str]) -> None:
        self.server.now += timedelta(seconds=1)
        for record_id in record_ids:
            self.server.put(record_id)

    def live(self) -> list[Record]:
        return [
            _record(
                held["hs_object_id"],
                held.get("email"),
                (held.get("firstname"), held.get("lastname"), held.get("points")),
                held.get("hs_email_optout") == "true",
            )
            for held in self.server.contacts.values()
        ]

    def state(self) -> str:
        return repr(self.server.contacts)

    def history(self, record_id: str) -> list[str]:
        return [
            note["properties"]["hs_note_body"]
            for note in self.server.notes
            if note["associations"][0]["to"]["id"] == record_id
        ]

    def _named(self, values: Mapping[str, Value]) -> dict[str, str]:
        return {_named(self, name): _text(value) for name, value in values.items()}


class SalesforcePeople(LocalAccount):
    """Works in an org of Salesforce, where nobody is without a last name."""

    crm = Salesforce
    server: SalesforceOrg
    given = Property("FirstName", "First Name", Kind.TEXT)
    family = Property("LastName", "Last Name", Kind.TEXT)
    points = Property("Points__c", "Points", Kind.NUMBER)

    def __init__(self) -> None:
        self.server = SalesforceOrg()

    def quota(self) -> Response:
        error = {"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded. token-1"}
        return JSONResponse([error], 403)

    def add(self, email: str | None, **values: Value) -> str:
        return self.server.add(email, **({"LastName": "Unnamed"} | self._named(values)))

    def edit(self, record_id: str, email: str | None = None, **values: Value) -> None:
        self.server.edit(record_id, **({"Email": email} if email else {}), **self._named(values))

    def say_opted_out(self, record_id: str, opted_out: bool = True) -> None:
        self.server.edit(record_id, HasOptedOutOfEmail=opted_out)

    def archive(self, record_id: str) -> None:
        self.server.edit(record_id, IsDeleted=True)

    def at_one_moment(self, record_ids: Sequence[str]) -> None:
        self.server.now += timedelta(seconds=1)
        for record_id in record_ids:
            self.server.put(record_id)

    def live(self) -> list[Record]:
        return [
            _record(
                row["Id"],
                row["Email"],
                (row["FirstName"], row["LastName"], row["Points__c"]),
                row["HasOptedOutOfEmail"],
            )
            for row in self.server.contacts.values()
            if not row["IsDeleted"]
        ]

    def state(self) -> str:
        return repr(self.server.contacts)

    def history(self, record_id: str) -> list[str]:
        return [
            f"{row['Subject']} {row['Description']}" for row in self.server.tasks if row["WhoId"] == record_id
        ]

    def _named(self, values: Mapping[str, Value]) -> dict[str, Any]:
        named = {_named(self, name): _json(value) for name, value in values.items()}
        return named | ({"LastName": "Unnamed"} if named.get("LastName", "") is None else {})


class PipedrivePeople(LocalAccount):
    """Works in a company of Pipedrive, where nobody is without a name."""

    crm = Pipedrive
    server: PipedriveCompany
    given = Property("first_name", "First name", Kind.TEXT)
    family = Property("last_name", "Last name", Kind.TEXT)
    points = Property(POINTS, "Points", Kind.NUMBER)

    def __init__(self) -> None:
        self.server = PipedriveCompany()

    def quota(self) -> Response:
        return JSONResponse({"error": "token-1"}, 429, {"x-daily-ratelimit-token-remaining": "0"})

    def add(self, email: str | None, **values: Value) -> str:
        return self.server.add(email, **self._told({"given": "Unnamed", **values}, {}))

    def edit(self, record_id: str, email: str | None = None, **values: Value) -> None:
        held = self.server.persons[record_id]
        told = self._told(values, held)
        if email:
            told["emails"] = [{"value": email, "primary": True, "label": "work"}]
        self.server.edit(record_id, **told)

    def say_opted_out(self, record_id: str, opted_out: bool = True) -> None:
        self.server.edit(record_id, marketing_status="unsubscribed" if opted_out else "subscribed")

    def archive(self, record_id: str) -> None:
        self.server.edit(record_id, is_deleted=True)

    def at_one_moment(self, record_ids: Sequence[str]) -> None:
        self.server.now += timedelta(seconds=1)
        for record_id in record_ids:
            self.server.put(record_id)

    def live(self) -> list[Record]:
        return [
            _record(
                str(held["id"]),
                next((entry["value"] for entry in held["emails"] if entry["primary"]), None),
                (held["first_name"], held["last_name"], held["custom_fields"][POINTS]),
                held["marketing_status"] == "unsubscribed",
            )
            for held in self.server.persons.values()
            if not held["is_deleted"]
        ]

    def state(self) -> str:
        return repr(self.server.persons)

    def history(self, record_id: str) -> list[str]:
        return [
            f"{each['subject']} {each['note']}"
            for each in self.server.activities
            if each["participants"][0]["person_id"] == int(record_id)
        ]

    def _told(self, values: Mapping[str, Value], held: Mapping[str, Any]) -> dict[str, Any]:
        names = [
            str(values.get(name, held.get(own)) or "")
            for name, own in (("given", "first_name"), ("family", "last_name"))
        ]
        custom = {POINTS: _json(values["points"])} if "points" in values else {}
        return {"name": " ".join(filter(None, names)), "custom": custom}


ACCOUNTS: Mapping[str, type[HubSpotPeople | SalesforcePeople | PipedrivePeople]] = {
    "hubspot": HubSpotPeople,
    "salesforce": SalesforcePeople,
    "pipedrive": PipedrivePeople,
}


def _named(account: Any, name: str) -> str:
    return str(getattr(account, name).name)


def _record(record_id: str, email: str | None, told: Iterable[Any], opted_out: bool) -> Record:
    given, family, points = told
    values = {
        "given": None if not given or is_stand_in(given) else given,
        "family": None if not family or is_stand_in(family) else family,
        "points": Decimal(str(points)) if points not in (None, "") else None,
    }
    return Record(record_id, email or None, values, opted_out, datetime.now(UTC))


def _text(value: Value) -> str:
    return "" if value is None else str(value)


def _json(value: Value) -> Any:
    return float(value) if isinstance(value, Decimal) else value
