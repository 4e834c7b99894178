"""Complaints (RFC 5965, ARF): people who called a mail spam, as their provider passes it on."""

from dataclasses import dataclass

from services.sending.feedback.mail import Fields, Mail

# What a person said. The others are about something else: not-spam (RFC 6430) takes it back, auth-failure (RFC 6591) is no person's word.
_OF_PERSONS = frozenset({"abuse", "fraud", "opt-out", "opt-out-list", "unsubscribe"})


@dataclass(frozen=True, slots=True)
class FeedbackReport:
    """A report of a feedback loop."""

    feedback_type: str
    reporter: str
    is_complaint: bool
    fields: Fields


def is_of_a_person(feedback_type: str) -> bool:
    """Whether a report of this type, in lower case, is the word of a person who wants no such mail."""
    return feedback_type in _OF_PERSONS


def feedback_report(mail: Mail) -> FeedbackReport | None:
    """The report that a mail is; None where it is none."""
    if (part := mail.part("message/feedback-report")) is not None:
        fields = part.blocks[0] if part.blocks else part.fields
        feedback_type = fields.get("feedback-type").lower()
        reporter = fields.get("reporting-mta").rpartition(";")[2].strip() or fields.get("user-agent")
        return FeedbackReport(feedback_type, reporter, is_of_a_person(feedback_type), fields)
    returned = mail.returned
    if returned is not None and "x-hmxmroriginalrecipient" in returned:
        # Microsoft's Junk Mail Reporting Program: the mail alone, with the name of who complained in a field of its own.
        return FeedbackReport("abuse", "jmrp", True, returned)
    return None
