"""`python -m services.sending.feedback.tests.confusion`: what the classifier makes of the labelled mails, as a confusion matrix."""

from collections import Counter

from services.sending.bounces import Kind
from services.sending.feedback.mail import Mail
from services.sending.feedback.tests.labelled_mail import corpus
from services.sending.feedback.understanding import understand

_WIDTH = max(map(len, Kind)) + 2


def main() -> None:
    """Print the matrix, and each mail that is not classified as labelled."""
    found = [(mail, understand(Mail(mail.content))) for mail in corpus()]
    counts = Counter((mail.kind, finding.kind) for mail, finding in found)
    print("labelled".ljust(_WIDTH) + "".join(kind.rjust(_WIDTH) for kind in Kind))
    for kind in Kind:
        row = "".join(str(counts[kind, other] or "·").rjust(_WIDTH) for other in Kind)
        print(kind.ljust(_WIDTH) + row)
    wrong = [(mail, finding) for mail, finding in found if mail.kind is not finding.kind]
    for mail, finding in wrong:
        print(f"{mail.name}: {finding.kind} by rule {finding.rule or 'none'}, and labelled {mail.kind}")
    print(f"{len(found) - len(wrong)} of {len(found)} mails as labelled")


if __name__ == "__main__":
    main()
