"""WritingService: decode, have it written, encode."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import FieldViolation, InvalidRequest
from flownurture.integrations.v1 import writing_pb2 as pb
from services.integrations.ai.earlier_mails import EarlierMails
from services.integrations.ai.language_model import LanguageModel
from services.integrations.ai.mail_checks import MailChecks
from services.integrations.ai.spending import Spending, spending
from services.integrations.ai.writing import Brief, Mail, Piece, cost_at_most, write

_WORDS = {
    pb.MAIL_LENGTH_UNSPECIFIED: 150,
    pb.MAIL_LENGTH_SHORT: 60,
    pb.MAIL_LENGTH_MEDIUM: 150,
    pb.MAIL_LENGTH_LONG: 350,
}


class WritingApi:
    """Mails drafted by a language model."""

    service = pb.DESCRIPTOR.services_by_name["WritingService"]

    def __init__(
        self, database: Database, model: LanguageModel, checks: MailChecks, earlier: EarlierMails
    ) -> None:
        self._database = database
        self._model = model
        self._checks = checks
        self._earlier = earlier

    async def write_mail(
        self, request: pb.WriteMailRequest, context: RequestContext
    ) -> AsyncGenerator[pb.WriteMailEvent, None]:
        """What comes of the draft, then the mail; UNAVAILABLE, or PLAN_LIMIT_EXCEEDED before anything is asked."""
        self._model.require()
        brief = _brief(request, await self._based_on(request, context))
        async with (
            spending(self._database, context, cost_at_most(brief)) as spent,
            aclosing(write(brief, self._model, self._checks, context, spent)) as written,
        ):
            async for each in written:
                if isinstance(each, Piece):
                    yield pb.WriteMailEvent(draft=pb.MailPiece(attempt=each.attempt, html=each.html))
                else:
                    mail = each
        # Whoever has it sees it counted.
        yield pb.WriteMailEvent(mail=_mail_message(mail, spent))

    async def _based_on(self, request: pb.WriteMailRequest, context: RequestContext) -> str:
        if not request.based_on_template_id:
            return request.based_on
        if request.based_on:
            raise InvalidRequest(
                FieldViolation("based_on_template_id", "is not for a mail that is based on another")
            )
        return await self._earlier.of_template(context, request.based_on_template_id)


def _brief(request: pb.WriteMailRequest, based_on: str) -> Brief:
    return Brief(
        goal=request.goal,
        audience=request.audience,
        tone=request.tone,
        language=request.language,
        brand_notes=request.brand_notes,
        # A length that this build does not know yet is no length.
        words=_WORDS.get(request.length, _WORDS[pb.MAIL_LENGTH_UNSPECIFIED]),
        based_on=based_on,
    )


def _mail_message(mail: Mail, spent: Spending) -> pb.WrittenMail:
    return pb.WrittenMail(
        subject_lines=(pb.SubjectLine(subject=line.subject, preheader=line.preheader) for line in mail.lines),
        html=mail.html,
        text=mail.text,
        tokens=spent.tokens,
    )
