"""What a mailing needs to know of each of its recipients: the fields that its templates name, and no others."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.sending.recipients import Recipient

_NAMES = ("first_name", "last_name")
_CUSTOM = "custom_fields."


@dataclass(frozen=True, slots=True)
class MergeFields:
    """Fields of a contact, beside its address."""

    names: tuple[str, ...] = ()
    custom_fields: tuple[str, ...] = ()

    @classmethod
    def of(cls, paths: Iterable[tuple[str, ...]]) -> "MergeFields":
        """Those that these paths of templates lead to."""
        of_contact = {path[1:] for path in paths if path[0] == "contact"}
        return cls(
            tuple(name for name in _NAMES if any(path[0] == name for path in of_contact)),
            tuple(sorted({path[1] for path in of_contact if path[0] == "custom_fields"})),
        )

    @classmethod
    def parse(cls, kept: Iterable[str]) -> "MergeFields":
        """As `kept` tells them."""
        fields = list(kept)
        return cls(
            tuple(field for field in fields if not field.startswith(_CUSTOM)),
            tuple(field.removeprefix(_CUSTOM) for field in fields if field.startswith(_CUSTOM)),
        )

    @property
    def kept(self) -> list[str]:
        """In the form in which a campaign keeps them."""
        return [*self.names, *(_CUSTOM + key for key in self.custom_fields)]

    def __bool__(self) -> bool:
        return bool(self.names or self.custom_fields)

    def of_recipient(self, recipient: Recipient) -> str:
        """A recipient's, as a JSON object in which templates find them."""
        known: dict[str, object] = {name: getattr(recipient, name) for name in self.names}
        if self.custom_fields:
            known["custom_fields"] = recipient.custom_fields
        return json.dumps(known, ensure_ascii=False)


def contact(email: str, merged: Mapping[str, object] | None) -> Mapping[str, object]:
    """What a template finds as `contact`."""
    return {"email": email, **(merged or {})}
