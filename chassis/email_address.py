"""An e-mail address that is one: as the platform writes it, and the digest by which it is known."""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Self

from email_validator import EmailNotValidError, ValidatedEmail, validate_email
from email_validator.rfc_constants import (
    ATEXT,
    CASE_INSENSITIVE_MAILBOX_NAMES,
    EMAIL_MAX_LENGTH,
    LOCAL_PART_MAX_LENGTH,
)

# What nearly all addresses look like: of ASCII, unquoted, and so nothing to normalize but the domain's case.
_PLAIN = re.compile(rf"(?P<local>[{ATEXT}]+(?:\.[{ATEXT}]+)*)@(?P<domain>[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")


@dataclass(frozen=True)
class EmailAddress:
    """A mailbox of RFC 5321 §4.1.2, internationalized ones (RFC 6531) included.

    `text` has its domain in lower case and its Unicode normalized; the local part stays as it was written, since
    only its own host may say what counts as the same. Two spellings that differ in case alone share a `digest`.
    """

    text: str
    ascii_domain: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address, without asking the DNS; raises ValueError that says what is wrong with it."""
        address = text.strip()
        plain = _PLAIN.fullmatch(address)
        if plain and _stays_as_it_is(plain["local"], plain["domain"].lower()):
            domain = plain["domain"].lower()
            return cls(f"{plain['local']}@{domain}", domain)
        try:
            checked = _checked(address)
        except EmailNotValidError as error:
            raise ValueError(str(error)) from None
        return cls(checked.normalized, checked.ascii_domain)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the address in lower case with its domain in ASCII (IDNA): the suppression list's key."""
        local, _, _ = self.text.rpartition("@")
        return sha256(f"{local.lower()}@{self.ascii_domain.lower()}".encode()).digest()

    def __str__(self) -> str:
        return self.text


def _checked(address: str) -> ValidatedEmail:
    # `.test` (RFC 2606) is what simulators and test suites send to; nothing answers there in the wild.
    return validate_email(address, check_deliverability=False, test_environment=True, strict=True)


def _stays_as_it_is(local: str, domain: str) -> bool:
    """Whether the library would leave this address as it is. It is asked about the domain alone, and once."""
    return (
        len(local) <= LOCAL_PART_MAX_LENGTH
        and len(local) + 1 + len(domain) <= EMAIL_MAX_LENGTH
        and local.lower() not in CASE_INSENSITIVE_MAILBOX_NAMES
        and _is_plain_domain(domain)
    )


@lru_cache(maxsize=4096)
def _is_plain_domain(domain: str) -> bool:
    try:
        return _checked(f"a@{domain}").domain == domain
    except EmailNotValidError:
        return False
