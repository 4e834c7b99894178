"""How persons of Pipedrive are written: only what differs from what stands there, addresses all together, and a name as a whole."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.integrations.crm.calls import Calls, published_form
from services.integrations.crm.errors import Broken
from services.integrations.crm.http_client import Answer
from services.integrations.crm.pipedrive_values import (
    FIRST_NAME,
    LAST_NAME,
    NAME,
    PHONE,
    custom_values,
    moment_of,
    names_of,
    primary,
    whole_name,
    with_primary,
)
from services.integrations.crm.records import Change, Outcome, Property, Value

PERSONS = "/api/v2/persons"


class Writer:
    """Writes persons of one batch, who were read just now."""

    def __init__(
        self, calls: Calls, properties: Sequence[Property], persons: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._calls = calls
        self._properties = properties
        self._persons = persons

    async def write(self, change: Change, ids: Sequence[str]) -> Outcome:
        """Into the first of these that it may be; for a change that goes by its address, a new one where it is nobody's."""
        held = [self._persons[id_] for id_ in ids if id_ in self._persons]
        if change.id is None:
            theirs = [each for each in held if _email(each).lower() == change.email.lower()]
            if held and not theirs:
                return Outcome(
                    None, error="A person has this as one of several addresses, and not as the primary one."
                )
            held = theirs
        elif not held:
            return Outcome(None, error="The person is not there any more.")
        try:
            return await (self._update(held[0], change) if held else self._create(change))
        except ValueError as wrong:
            return Outcome(None, error=f"{wrong}.")

    async def _create(self, change: Change) -> Outcome:
        wanted = {name: value for name, value in self._wanted({}, change).items() if value not in ({}, [])}
        return outcome_of(data_of(await self._calls.send("POST", PERSONS, json=wanted)))

    async def _update(self, person: Mapping[str, Any], change: Change) -> Outcome:
        wanted = self._wanted(person, change)
        custom = person.get("custom_fields") or {}
        changed = {name: value for name, value in wanted.items() if value != person.get(name)}
        changed["custom_fields"] = {
            key: value for key, value in wanted["custom_fields"].items() if value != custom.get(key)
        }
        if not changed["custom_fields"]:
            del changed["custom_fields"]
        if not changed:
            return outcome_of(person)
        return outcome_of(data_of(await self._calls.send("PATCH", f"{PERSONS}/{person['id']}", json=changed)))

    def _wanted(self, person: Mapping[str, Any], change: Change) -> dict[str, Any]:
        """What is to stand there of what the change says. Raises ValueError."""
        values = change.properties
        wanted: dict[str, Any] = {"custom_fields": custom_values(values, self._properties)}
        if _email(person) != change.email:
            wanted["emails"] = with_primary(person.get("emails") or [], change.email)
        if PHONE in values and primary(person.get("phones")) != values[PHONE]:
            wanted["phones"] = with_primary(person.get("phones") or [], str(values[PHONE] or ""))
        first, last = names_of(person)
        asked = _in_line(values.get(FIRST_NAME, first)), _in_line(values.get(LAST_NAME, last))
        if not person or asked != (first, last):
            wanted[NAME] = whole_name(*asked, change.email)
        return wanted


def data_of(answer: Answer) -> dict[str, Any]:
    """What an answer holds. Raises Broken."""
    told = answer.object().get("data")
    if not isinstance(told, dict):
        raise Broken("The CRM answered with JSON of another form than it publishes.")
    return told


def outcome_of(told: Mapping[str, Any]) -> Outcome:
    """Of somebody, or something, that stands there as it is told. Raises Broken."""
    with published_form():
        return Outcome(str(told["id"]), moment_of(told["update_time"]))


def _in_line(value: Value) -> str:
    """A text with single spaces between its words."""
    return " ".join(str(value or "").split())


def _email(person: Mapping[str, Any]) -> str:
    return primary(person.get("emails")) or ""
