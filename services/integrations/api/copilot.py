"""CopilotService: decode, ask, encode."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from chassis.context import RequestContext
from chassis.database import Database
from chassis.identifiers import new_id
from flownurture.audit.v1.acts_pb2 import AuditedAct
from flownurture.integrations.v1 import copilot_pb2 as pb
from services.integrations.acts import tell
from services.integrations.ai.copilot import Answer, Exchange, Step, ask
from services.integrations.ai.language_model import LanguageModel
from services.integrations.ai.spending import spending
from services.integrations.ai.tools import Tools


class CopilotApi:
    """Answers about the organization's data."""

    service = pb.DESCRIPTOR.services_by_name["CopilotService"]

    def __init__(self, database: Database, model: LanguageModel, tools: Tools) -> None:
        self._database = database
        self._model = model
        self._tools = tools

    async def ask_copilot(
        self, request: pb.AskCopilotRequest, context: RequestContext
    ) -> AsyncGenerator[pb.AskCopilotEvent, None]:
        """What is looked at, then the answer; UNAVAILABLE, PLAN_LIMIT_EXCEEDED."""
        self._model.require()
        question_id = new_id()

        async def told(tools: Sequence[str]) -> None:
            async with self._database.tenant_transaction(context) as session:
                facts = {"tools": tools, "calls": str(len(tools))}
                tell(session, AuditedAct.KIND_COPILOT_TOOLS_USED, question_id, after=facts)

        answering = ask(
            request.question,
            [Exchange(each.question, each.answer) for each in request.history],
            model=self._model,
            tools=self._tools,
            context=context,
            purse=lambda most: spending(self._database, context, most),
            tell=told,
        )
        async with aclosing(answering):
            async for each in answering:
                yield _event(each)


def _event(each: Step | Answer) -> pb.AskCopilotEvent:
    if isinstance(each, Step):
        return pb.AskCopilotEvent(step=pb.CopilotStep(tools=each.tools))
    return pb.AskCopilotEvent(
        answer=pb.CopilotAnswer(
            text=each.text,
            proposals=(
                pb.CopilotProposal(
                    kind=pb.CopilotProposalKind.Value(f"COPILOT_PROPOSAL_KIND_{proposal.kind.upper()}"),
                    document=ParseDict(proposal.document, Struct()),
                )
                for proposal in each.proposals
            ),
            tools=each.tools,
            tokens=each.tokens,
        )
    )
