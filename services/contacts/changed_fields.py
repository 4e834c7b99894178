"""Which fields of a contact have another value than before, by the names that templates and events have for them."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias
from uuid import UUID

from services.contacts.tables import contacts

# Of contacts that a change has changed in themselves; who is not among them has at most other lists or tags.
ChangedFields: TypeAlias = Mapping[UUID, Sequence[str]]

_OWN = tuple(contacts.c[name].name for name in ("email", "first_name", "last_name", "status", "time_zone"))
_OWN_CHANGED = ", ".join(f"CASE WHEN old.{name} <> new.{name} THEN '{name}' END" for name in _OWN)

# What an UPDATE of contacts returns of each row: what the database found there and what it wrote, so nothing that another
# transaction wrote in between is taken for its own. What a deleted field left behind has no name.
CHANGED_FIELDS = f"""
    array_remove(ARRAY[{_OWN_CHANGED}], NULL)
    || CASE WHEN old.custom_fields <> new.custom_fields THEN ARRAY(
        SELECT 'custom_fields.' || field.key FROM custom_fields AS field
        WHERE field.deleted_at IS NULL
              AND old.custom_fields -> field.number::text IS DISTINCT FROM new.custom_fields -> field.number::text
        ORDER BY field.key
    ) ELSE '{{}}' END
"""  # noqa: S608 - of our own names alone
