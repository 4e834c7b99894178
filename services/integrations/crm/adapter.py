"""What every CRM can be asked, and what it needs for that. A fourth CRM is one more file that answers it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from chassis.secret import Secret
from services.integrations.crm.records import (
    Account,
    Activity,
    Change,
    Outcome,
    Page,
    Person,
    Property,
    Record,
)


class Access(Protocol):
    """The credential of one connection, and where its account is."""

    @property
    def base_url(self) -> str:
        """Scheme and authority of the account, as the tokens came with it."""

    @property
    def is_api_key(self) -> bool:
        """Whether it is a key that somebody made by hand, which cannot be renewed, in place of a token."""

    async def token(self) -> Secret:
        """One that is good, as far as is known. Raises Unauthorized."""

    async def renewed(self, stale: Secret) -> Secret:
        """Another than this one, which the CRM has just refused. Raises Unauthorized where there is none to be had."""


class Crm(Protocol):
    """One account of a CRM. Every method raises the errors of `crm.errors`, none else, and may be called again after any.

    What takes a sequence does as much of its beginning as goes in one call, and gives the outcomes of that, in order:
    at least one, unless it raises. So what was done is known although what comes behind it meets a limit.
    """

    async def account(self) -> Account:
        """Whose it is; also the way to learn whether a credential is good."""

    async def properties(self) -> Sequence[Property]:
        """What contacts may have in this account, apart from the address, whether they opted out, and ids."""

    async def newest(self, properties: Sequence[Property], limit: int) -> Sequence[Record]:
        """At most `limit` contacts, few enough for one call: those that changed last, the last one first."""

    async def changed(self, cursor: str | None, properties: Sequence[Property], limit: int) -> Page:
        """At most `limit` contacts that changed since; None is all of them. None that stays is missed, some come twice.

        By the time of their change, ascending, but for the bulk of a first sync, which has no order. A value that is
        not what its property says is left out of the record. Raises CursorLost.
        """

    async def read(self, ids: Sequence[str], properties: Sequence[Property]) -> Mapping[str, Record]:
        """Those of these ids, by id; without those that are gone or archived."""

    async def find(self, emails: Sequence[str], properties: Sequence[Property]) -> Mapping[str, Record]:
        """Those of these addresses, by the address in lower case. Of several with one address, the oldest."""

    async def write(self, changes: Sequence[Change], properties: Sequence[Property]) -> Sequence[Outcome]:
        """Have these values stand in the contacts; what is not named stays. To repeat it changes nothing."""

    async def opt_out(self, people: Sequence[Person]) -> Sequence[Outcome]:
        """Have no marketing sent to these by the CRM. There is no way back by this interface."""

    async def log(self, activities: Sequence[Activity]) -> Sequence[Outcome]:
        """Show these in the history of their contacts. To repeat it shows them twice: ask `logged` first when in doubt."""

    async def logged(self, activities: Sequence[Activity]) -> frozenset[str]:
        """The ids of those that the CRM shows already."""
