"""Which messages a report, or a provider's event, is about: told by the tokens that it carries, which nobody can make up."""

import re
from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

from chassis.errors import NotFound
from chassis.secret import Secret
from services.sending.feedback.mail import Mail
from services.sending.signed_addresses import (
    CarriedTokens,
    ReturnPaths,
    SignedAddresses,
    UnsubscribeAddresses,
)

# As `signed_addresses` makes them, in any case.
_TOKEN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z2-7]{64}(?=@)")
# Where a report names the return path, or the mail's own address to opt out, when it comes to an address without a token.
_OF_REPORT = ("original-mail-from", "x-original-mail-from")
_OF_RETURNED = ("return-path", "x-return-path", "list-unsubscribe", "x-hmxmroriginalreturnpath")


class Origins:
    """Opens tokens. One that is not genuine is no token."""

    def __init__(self, keys: Sequence[Secret]) -> None:
        self._return_paths = ReturnPaths(keys)
        self._unsubscribe_addresses = UnsubscribeAddresses(keys)
        self._carried_tokens = CarriedTokens(keys)

    def of(self, recipients: Iterable[str], mail: Mail) -> list[tuple[UUID, UUID]]:
        """Organization and message of each that a report is about: by whom it came to, else by what it encloses."""
        return _genuine(self._to(recipients)) or _genuine(self._enclosed(mail))

    def of_event(self, carried: str, addresses: Iterable[str]) -> list[tuple[UUID, UUID]]:
        """The same of what a provider tells: by what it carried for us, else by our addresses in these texts."""
        return _genuine(self._opened((self._carried_tokens,), [carried])) or _genuine(self._named(addresses))

    def _to(self, recipients: Iterable[str]) -> Iterator[tuple[UUID, UUID]]:
        return self._opened((self._return_paths,), recipients)

    def _enclosed(self, mail: Mail) -> Iterator[tuple[UUID, UUID]]:
        report = mail.part("message/feedback-report")
        fields = [block.get(name) for block in (report.blocks if report else ()) for name in _OF_REPORT]
        if (returned := mail.returned) is not None:
            fields += [returned.get(name) for name in _OF_RETURNED]
        return self._named(fields)

    def _named(self, texts: Iterable[str]) -> Iterator[tuple[UUID, UUID]]:
        tokens = (token for text in texts for token in _TOKEN.findall(text))
        return self._opened((self._return_paths, self._unsubscribe_addresses), tokens)

    def _opened(
        self, purposes: Sequence[SignedAddresses], tokens: Iterable[str]
    ) -> Iterator[tuple[UUID, UUID]]:
        for token in tokens:
            for addresses in purposes:
                try:
                    yield addresses.open(token)
                except NotFound:
                    continue


def _genuine(found: Iterator[tuple[UUID, UUID]]) -> list[tuple[UUID, UUID]]:
    return list(dict.fromkeys(found))
