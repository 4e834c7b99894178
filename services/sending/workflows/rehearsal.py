"""What a simulation has to know: the version, what its mails are called, and the contact as they are now."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import select

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.errors import InvalidRequest, NotFound, Unavailable
from flownurture.contacts.v1.segments_pb2 import Rule
from flownurture.sending.v1 import workflows_pb2 as pb
from services.sending.contents import Content
from services.sending.statuses import SuppressionReason
from services.sending.tables import suppressions
from services.sending.templates import require_contents
from services.sending.templating.language import TEXT
from services.sending.templating.merge_fields import MergeFields, contact
from services.sending.templating.template import Template
from services.sending.workflows.people import Absent, People, Person, Question
from services.sending.workflows.references import rules

# Of the rules of one question: one rule may have as many by itself.
_MOST_CONDITIONS = 100

# What mails are called, by the ids of their steps.
Subjects: TypeAlias = Mapping[str, Template]


@dataclass(frozen=True, slots=True)
class Known:
    """A contact as they are now, and whether the rules of a document fit them, by their paths."""

    person: Person
    answers: Mapping[str, bool]


async def subjects_of(session: TenantSession, document: pb.WorkflowDocument) -> Subjects:
    """The subjects of a document's mails as templates; of those that can be read."""
    mails = {step.id: step.send_email for step in document.steps if step.HasField("send_email")}
    ids = {UUID(mail.template_id) for mail in mails.values() if mail.template_id and not mail.subject}
    contents = await require_contents(session, ids)
    subjects: dict[str, Template] = {}
    for step_id, mail in mails.items():
        content = None if mail.subject else contents.get(UUID(mail.template_id))
        subject = content.subject if isinstance(content, Content) else mail.subject
        try:
            subjects[step_id] = Template.compile("subject", subject, TEXT)
        except InvalidRequest:
            continue
    return subjects


def said_to(person: Person, subject: Template) -> str:
    """A subject as it is for somebody; empty where it cannot be rendered."""
    fields = MergeFields.of(subject.paths)
    recipient = person.recipient
    known: dict[str, object] = {name: getattr(recipient, name) for name in fields.names}
    known["custom_fields"] = recipient.custom_fields
    try:
        return subject.text({"contact": contact(recipient.email, known)})
    except InvalidRequest:
        return ""


async def know(
    people: People,
    context: RequestContext,
    contact_id: UUID,
    document: pb.WorkflowDocument,
    subjects: Iterable[Template],
) -> Known:
    """Ask who a contact is, and about all rules of a document. Raises NotFound, Unavailable."""
    paths = frozenset().union(*(subject.paths for subject in subjects))
    fields = MergeFields.of(paths).custom_fields
    answers: dict[str, bool] = {}
    person = await _describe(people, context, Question(contact_id), [], fields)
    for asked in _in_sets(rules(document)):
        question = Question(contact_id, rules=range(len(asked)))
        fitting = (await _describe(people, context, question, [rule for _, rule in asked], ())).fitting
        answers |= {path: index in fitting for index, (path, _) in enumerate(asked)}
    return Known(person, answers)


async def _describe(
    people: People,
    context: RequestContext,
    question: Question,
    asked: Sequence[Rule],
    fields: Iterable[str],
) -> Person:
    (found,) = await people.describe(context, [question], asked, fields)
    if found is Absent.UNKNOWN:
        raise NotFound(f"contact as {question.contact_id}")
    if not isinstance(found, Person):
        raise Unavailable
    return found


async def suppression_of(session: TenantSession, digest: bytes) -> SuppressionReason | None:
    """Why an address gets no mail; where several reasons hold, the first of them."""
    found = await session.execute(select(suppressions.c.reason).where(suppressions.c.email_digest == digest))
    reasons = set(found.scalars())
    return next((reason for reason in SuppressionReason if reason.value in reasons), None)


def _in_sets(named: Iterable[tuple[str, Rule]]) -> Iterator[Sequence[tuple[str, Rule]]]:
    """As many rules as can be asked about together."""
    together: list[tuple[str, Rule]] = []
    size = 0
    for path, rule in named:
        conditions = _conditions(rule)
        if together and size + conditions > _MOST_CONDITIONS:
            yield together
            together, size = [], 0
        together.append((path, rule))
        size += conditions
    if together:
        yield together


def _conditions(rule: Rule) -> int:
    inner = [*rule.all, *rule.any, *([getattr(rule, "not")] if rule.HasField("not") else [])]
    return sum(map(_conditions, inner)) if inner else 1
