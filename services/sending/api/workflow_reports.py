"""WorkflowReportService: decode, call the domain, encode."""

from collections.abc import Iterable, Iterator

from chassis.context import RequestContext
from chassis.database import TenantSession
from chassis.identifiers import parse_id
from flownurture.sending.v1 import workflow_reports_pb2 as pb
from services.sending.workflows.report import Figures, report_on


class WorkflowReportApi:
    """What came of workflows."""

    service = pb.DESCRIPTOR.services_by_name["WorkflowReportService"]

    async def get_workflow_report(
        self, request: pb.GetWorkflowReportRequest, context: RequestContext, session: TenantSession
    ) -> pb.WorkflowReport:
        """The figures of a workflow, or NOT_FOUND."""
        report = await report_on(session, parse_id(request.workflow_id))
        return pb.WorkflowReport(
            workflow_id=request.workflow_id,
            enrolled=report.in_all.enrolled,
            under_way=report.in_all.under_way,
            converted=report.in_all.converted,
            exits=_exits(report.in_all),
            steps=_steps(report.in_all, report.step_ids),
            versions=[
                pb.VersionFigures(
                    version=number,
                    enrolled=figures.enrolled,
                    under_way=figures.under_way,
                    converted=figures.converted,
                    exits=_exits(figures),
                    steps=_steps(
                        figures, [step_id for step_id in report.step_ids if step_id in figures.steps]
                    ),
                )
                for number, figures in report.versions.items()
            ],
        )


def _exits(figures: Figures) -> Iterator[pb.ExitCount]:
    for (cause, reason), number in sorted(figures.exits.items()):
        yield pb.ExitCount(cause=cause, reason=reason, enrollments=number)


def _steps(figures: Figures, step_ids: Iterable[str]) -> Iterator[pb.StepFigures]:
    for step_id in step_ids:
        yield pb.StepFigures(
            step_id=step_id,
            there=figures.there(step_id),
            taken=figures.taken(step_id),
            opened=figures.opened(step_id),
            clicked=figures.clicked(step_id),
        )
