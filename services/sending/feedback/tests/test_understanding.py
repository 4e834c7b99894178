"""Reports are understood as they are labelled, whoever writes them and in whatever language."""

import pytest

from services.sending.bounces import Kind
from services.sending.feedback.mail import Mail
from services.sending.feedback.tests.labelled_mail import Labelled, corpus, mail_named, mails_on_disk
from services.sending.feedback.understanding import understand

MAILS = list(corpus())


@pytest.mark.parametrize("mail", MAILS, ids=lambda mail: mail.name)
def test_a_mail_is_understood_as_it_is_labelled(mail: Labelled) -> None:
    finding = understand(Mail(mail.content))
    assert (finding.kind, finding.shape, finding.enhanced_status) == (
        mail.kind,
        mail.shape,
        mail.enhanced_status,
    )


@pytest.mark.parametrize("mail", MAILS, ids=lambda mail: mail.name)
def test_line_ends_change_nothing(mail: Labelled) -> None:
    on_the_wire = mail.content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert understand(Mail(on_the_wire)) == understand(Mail(mail.content))


def test_the_corpus_has_sixty_shapes_and_all_kinds_and_every_mail_a_label() -> None:
    assert mails_on_disk() == {mail.name for mail in MAILS}
    assert len(MAILS) >= 60
    assert {mail.kind for mail in MAILS} == set(Kind)


def test_what_is_hard_or_blocked_tells_its_rule() -> None:
    found = [understand(Mail(mail.content)) for mail in MAILS]
    assert all(finding.rule for finding in found if finding.kind is not Kind.UNKNOWN)


def test_only_a_mail_that_came_back_is_returned() -> None:
    assert understand(Mail(mail_named("qmail_full").content)).returned
    assert not understand(Mail(mail_named("postfix_delayed").content)).returned
    assert not understand(Mail(mail_named("auto_left_the_company").content)).returned


def test_of_several_recipients_the_one_that_failed_counts() -> None:
    content = mail_named("postfix_user_unknown").content.replace(
        b"Final-Recipient:",
        b"Final-Recipient: rfc822; other@example.net\nAction: relayed\nStatus: 2.0.0\n\nFinal-Recipient:",
        1,
    )
    assert understand(Mail(content)).kind is Kind.HARD
