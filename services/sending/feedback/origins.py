"""Which messages a report is about: told by the tokens that it carries, which nobody can make up."""

import re
from collections.abc import Iterable, Iterator
from uuid import UUID

from chassis.errors import NotFound
from services.sending.feedback.mail import Mail
from services.sending.signed_addresses import ReturnPaths, UnsubscribeAddresses

# As `signed_addresses` makes them, in any case.
_TOKEN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z2-7]{64}(?=@)")
# Where a report names the return path, or the mail's own address to opt out, when it comes to an address without a token.
_OF_REPORT = ("original-mail-from", "x-original-mail-from")
_OF_RETURNED = ("return-path", "x-return-path", "list-unsubscribe", "x-hmxmroriginalreturnpath")


class Origins:
    """Opens tokens. One that is not genuine is no token."""

    def __init__(self, return_paths: ReturnPaths, unsubscribe_addresses: UnsubscribeAddresses) -> None:
        self._return_paths = return_paths
        self._unsubscribe_addresses = unsubscribe_addresses

    def of(self, recipients: Iterable[str], mail: Mail) -> list[tuple[UUID, UUID]]:
        """Organization and message of each that a report is about: by whom it came to, else by what it encloses."""
        return _genuine(self._to(recipients)) or _genuine(self._enclosed(mail))

    def _to(self, recipients: Iterable[str]) -> Iterator[tuple[UUID, UUID]]:
        for recipient in recipients:
            try:
                yield self._return_paths.open(recipient)
            except NotFound:
                continue

    def _enclosed(self, mail: Mail) -> Iterator[tuple[UUID, UUID]]:
        report = mail.part("message/feedback-report")
        fields = [block.get(name) for block in (report.blocks if report else ()) for name in _OF_REPORT]
        if (returned := mail.returned) is not None:
            fields += [returned.get(name) for name in _OF_RETURNED]
        for field in fields:
            for token in _TOKEN.findall(field):
                for addresses in (self._return_paths, self._unsubscribe_addresses):
                    try:
                        yield addresses.open(f"{token}@")
                    except NotFound:
                        continue


def _genuine(found: Iterator[tuple[UUID, UUID]]) -> list[tuple[UUID, UUID]]:
    return list(dict.fromkeys(found))
