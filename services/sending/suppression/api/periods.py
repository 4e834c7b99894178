"""Between which times entries were added."""

from datetime import datetime

from chassis.errors import FieldViolation, InvalidRequest
from flownurture.suppression.v1.files_pb2 import ExportSuppressionsRequest
from flownurture.suppression.v1.suppressions_pb2 import ListSuppressionsRequest
from services.sending.api.moments import moment_of


def period_of(
    request: ListSuppressionsRequest | ExportSuppressionsRequest,
) -> tuple[datetime | None, datetime | None]:
    """From when and until when; None where nothing is asked. Raises InvalidRequest."""
    since, until = moment_of(request, "from"), moment_of(request, "to")
    if since is not None and until is not None and since >= until:
        raise InvalidRequest(FieldViolation("from", "must be before to"))
    return since, until
