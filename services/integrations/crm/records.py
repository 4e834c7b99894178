"""What is exchanged with a CRM, whichever it is: contacts with typed properties, and what became of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias


class Kind(StrEnum):
    """What a property holds, and so which values it has."""

    TEXT = "text"  # str
    NUMBER = "number"  # Decimal
    YES_NO = "yes_no"  # bool
    DATE = "date"  # date
    MOMENT = "moment"  # datetime, with its zone
    CHOICE = "choice"  # str, the value of one of its choices
    CHOICES = "choices"  # tuple of such


# None is a property without a value; to write it takes the value away.
Value: TypeAlias = str | Decimal | bool | date | datetime | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of what a property may hold: the value that is exchanged, and what people read."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Property:
    """A field that contacts have in this account."""

    name: str
    label: str
    kind: Kind
    is_writable: bool = True
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """Whose data it is: the CRM's id of the account, and the name people know it by."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """A contact as the CRM has it. `email` is what stands there, which may be no address; None where nothing does.

    Of the properties that were asked for, one without a value is None, and one whose value is not what it says is left out.
    """

    id: str
    email: str | None
    properties: Mapping[str, Value]
    opted_out: bool
    modified_at: datetime
    is_archived: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A part of what changed.

    `cursor` goes on behind it: JSON of at most 1 KB, good for days, in any process. `is_last` says that there was no
    more just now; asking with its cursor later gives what has changed since, and possibly some once more. `wait`
    is how many seconds to let pass before that, where the CRM is still preparing an answer.
    """

    records: Sequence[Record]
    cursor: str
    is_last: bool
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """What is to stand in a contact: the one of this id, or of this address, which is made where there is none."""

    id: str | None
    email: str
    properties: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Person:
    """A contact by both of its names."""

    id: str
    email: str


@dataclass(frozen=True, slots=True)
class Activity:
    """Something that happened, to be seen in a contact's history. `id` is ours, at most 64 characters without spaces."""

    id: str
    contact_id: str
    title: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one of those given: its id in the CRM, or why not. `is_retryable`: the same may do later."""

    id: str | None
    modified_at: datetime | None = None
    error: str = ""
    is_retryable: bool = False
