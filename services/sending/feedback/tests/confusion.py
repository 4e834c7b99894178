"""`python -m services.sending.feedback.tests.confusion`: what the classifier makes of the labelled mails and posts, as a confusion matrix."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from services.sending.bounces import Kind
from services.sending.feedback.mail import Mail
from services.sending.feedback.providers.directory import EVENTS
from services.sending.feedback.tests.labelled_mail import corpus
from services.sending.feedback.tests.posted import OPTED_OUT, Keys, posted
from services.sending.feedback.understanding import understand

_WIDTH = max(map(len, Kind)) + 2


@dataclass(frozen=True, slots=True)
class _Read:
    name: str
    label: Kind
    found: Kind
    rule: str


def _mails() -> Iterator[_Read]:
    for mail in corpus():
        finding = understand(Mail(mail.content))
        yield _Read(mail.name, mail.kind, finding.kind, finding.rule)


def _posts() -> Iterator[_Read]:
    """Those about one message; of what a person wishes there is nothing to confuse."""
    keys = Keys()
    for post in posted():
        findings = [event.finding for event in EVENTS[post.provider](keys.genuine(post).body)]
        if len(findings) == 1 and OPTED_OUT not in post.says:
            (finding,) = findings
            label = Kind(post.says[0]) if post.says else Kind.AUTO_REPLY
            found = finding.kind if finding.counts else Kind.AUTO_REPLY
            yield _Read(f"{post.provider} {post.name}", label, found, finding.rule)


def main() -> None:
    """Print the matrix, and each mail or post that is not classified as labelled."""
    reads = [*_mails(), *_posts()]
    counts = Counter((read.label, read.found) for read in reads)
    print("labelled".ljust(_WIDTH) + "".join(kind.rjust(_WIDTH) for kind in Kind))
    for kind in Kind:
        row = "".join(str(counts[kind, other] or "·").rjust(_WIDTH) for other in Kind)
        print(kind.ljust(_WIDTH) + row)
    wrong = [read for read in reads if read.label is not read.found]
    for read in wrong:
        print(f"{read.name}: {read.found} by rule {read.rule or 'none'}, and labelled {read.label}")
    print(f"{len(reads) - len(wrong)} of {len(reads)} mails and posts as labelled")


if __name__ == "__main__":
    main()
