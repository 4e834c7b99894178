"""What a report means: which shape it has, and what that shape says of the message that it is about."""

import re
from dataclasses import dataclass
from enum import StrEnum

from services.sending.bounces import Kind, classify, enhanced_code
from services.sending.feedback.automatic_replies import is_automatic_reply
from services.sending.feedback.complaints import FeedbackReport, feedback_report
from services.sending.feedback.delivery_status import DeliveryStatus, delivery_status
from services.sending.feedback.mail import Mail
from services.sending.feedback.notices import Notice, notice

_CODE = re.compile(r"(?<![\d.])[245]\d\d(?=[ -])")
# Enhanced codes that say no more than their class does: then the words of the diagnosis count.
_GENERAL = re.compile(r"[245]\.0\.0")
_LONGEST_SHOWN = 500


class Shape(StrEnum):
    """As what a report was recognized."""

    DSN = "dsn"
    ARF = "arf"
    NOTICE = "notice"
    PROVIDER = "provider"
    AUTOMATIC = "automatic"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a report says of its message. `returned`: that it did not arrive; `opts_out`: that who got it wants no more."""

    shape: Shape
    kind: Kind
    rule: str = ""
    enhanced_status: str = ""
    diagnosis: str = ""
    reporter: str = ""
    returned: bool = False
    opts_out: bool = False

    @property
    def counts(self) -> bool:
        """Whether it says anything against the message, or its address."""
        return self.returned or self.kind is Kind.COMPLAINT

    @property
    def has_effect(self) -> bool:
        """Whether anything comes of it."""
        return self.counts or self.opts_out


def understand(mail: Mail) -> Finding:
    """What a mail means; of kind unknown where it is nothing that anybody knows."""
    if (report := feedback_report(mail)) is not None:
        return _of_complaint(report)
    if (status := delivery_status(mail)) is not None:
        return _of_status(status)
    if (found := notice(mail)) is not None:
        return _of_notice(found)
    if is_automatic_reply(mail):
        return Finding(Shape.AUTOMATIC, Kind.AUTO_REPLY, "automatic_reply")
    if (found := notice(mail, by_subject=True)) is not None:
        return _of_notice(found)
    return Finding(Shape.OTHER, Kind.UNKNOWN)


def refusal(shape: Shape, status: str, diagnosis: str, reporter: str) -> Finding:
    """What a message that was given up says, by the status of who reports it and the words of who refused it."""
    # What the receiving server said counts more than what the one that reports it made of it.
    enhanced = enhanced_code(diagnosis) or enhanced_code(status)
    if _GENERAL.fullmatch(enhanced):
        enhanced = enhanced_code(status) or enhanced
    return _refusal(shape, enhanced, _code(diagnosis), diagnosis, reporter)


def _of_complaint(report: FeedbackReport) -> Finding:
    rule = f"feedback_type_{report.feedback_type or 'missing'}"[:60]
    kind = Kind.COMPLAINT if report.is_complaint else Kind.UNKNOWN
    return Finding(Shape.ARF, kind, rule, reporter=report.reporter)


def _of_status(status: DeliveryStatus) -> Finding:
    if status.action != "failed":
        return Finding(
            Shape.DSN,
            Kind.AUTO_REPLY,
            status.action,
            status.status,
            _shown(status.diagnostic),
            status.reporter,
        )
    return refusal(Shape.DSN, status.status, status.diagnostic, status.reporter)


def _of_notice(found: Notice) -> Finding:
    enhanced = enhanced_code(found.diagnosis)
    if found.is_delay:
        return Finding(
            Shape.NOTICE, Kind.AUTO_REPLY, "delayed", enhanced, _shown(found.diagnosis), found.reporter
        )
    return _refusal(Shape.NOTICE, enhanced, found.code, found.diagnosis, found.reporter)


def _refusal(shape: Shape, enhanced: str, code: int | None, diagnosis: str, reporter: str) -> Finding:
    classified = classify(enhanced, code, diagnosis)
    return Finding(
        shape,
        classified.kind,
        classified.rule,
        enhanced,
        _shown(diagnosis),
        _shown(reporter)[:255],
        returned=True,
    )


def _code(diagnostic: str) -> int | None:
    found = _CODE.search(diagnostic)
    return int(found.group(0)) if found else None


def _shown(diagnosis: str) -> str:
    line = " ".join(diagnosis.split())
    return "".join(letter for letter in line if letter.isprintable())[:_LONGEST_SHOWN]
