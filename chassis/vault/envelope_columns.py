"""Which columns of a schema hold envelopes: `rewrap-keys` seals again those that another key-encryption key has wrapped."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, func, literal

from chassis.sealing import Sealer
from chassis.vault.envelopes import Envelopes, beginning
from chassis.vault.wrapping import Wrapping


@dataclass(frozen=True, slots=True)
class EnvelopeColumn:
    """A column of a platform table; `row` is the column with the UUID that its values are bound to.

    The scheduler's role sees both columns, and changes the one with the values.
    """

    table: Table
    column: str
    row: str

    def envelopes(self, schema: str, wrapping: Wrapping, former: Sealer | None) -> Envelopes:
        """Who seals and opens it; `former` opens what it kept before."""
        return Envelopes(wrapping, schema=schema, table=self.table.name, column=self.column, former=former)

    def is_wrapped_otherwise(self, wrapping_key: str) -> ColumnElement[bool]:
        """Whether anything else than an envelope of this key-encryption key stands there."""
        begins = beginning(wrapping_key)
        return func.substr(self.table.c[self.column], literal(1), literal(len(begins))) != begins
