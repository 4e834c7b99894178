"""An e-mail address that is one: as the platform writes it, and the digest by which it is known."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Self

from email_validator import EmailNotValidError, validate_email


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
        try:
            # `.test` (RFC 2606) is what simulators and test suites send to; nothing answers there in the wild.
            checked = validate_email(
                text.strip(), check_deliverability=False, test_environment=True, strict=True
            )
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
