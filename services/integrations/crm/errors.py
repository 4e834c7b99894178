"""What a CRM answers in place of what was asked for. No message holds a token, or more of an answer than its error code."""

from collections.abc import Sequence
from datetime import datetime


class CrmError(Exception):
    """The whole call had no effect that is known of; the message may be shown to members of the organization."""


class RateLimited(CrmError):
    """Too many calls for now. `retry_after` in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("The CRM asks to be called more slowly.")
        self.retry_after = retry_after


class QuotaExhausted(CrmError):
    """The account's calls of the day are used up; there is no use in asking before `until`."""

    def __init__(self, until: datetime) -> None:
        super().__init__("The account has used up the calls that the CRM allows it a day.")
        self.until = until


class Unauthorized(CrmError):
    """The credential is not accepted and cannot be renewed: somebody has to connect again."""

    def __init__(self, code: str = "") -> None:
        super().__init__(_with_code("The CRM does not accept the credential any more", code))


class Forbidden(CrmError):
    """The credential is good but may not do this. `scopes` are those that the CRM says are missing, if it says."""

    def __init__(self, code: str = "", scopes: Sequence[str] = ()) -> None:
        what = (
            f"The CRM does not allow this; missing: {', '.join(scopes)}"
            if scopes
            else "The CRM does not allow this"
        )
        super().__init__(_with_code(what, code))
        self.scopes = tuple(scopes)


class Rejected(CrmError):
    """The CRM understood and refuses: to ask the same again is of no use."""

    def __init__(self, code: str) -> None:
        super().__init__(_with_code("The CRM refuses what was asked", code))
        self.code = code


class CursorLost(CrmError):
    """The CRM does not know the cursor any more: begin again without one."""

    def __init__(self) -> None:
        super().__init__("The CRM does not know where the last sync ended.")


class Broken(CrmError):
    """It could not be reached, failed, or answered what makes no sense: later it may do."""


def _with_code(message: str, code: str) -> str:
    return f"{message} ({code})." if code else f"{message}."
