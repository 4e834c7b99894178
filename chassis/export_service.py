"""`ExportService`: what a service holds of an organization. Identity alone asks, for an operator."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator

from chassis.context import RequestContext
from chassis.export import Export, RowSet
from flownurture.operations.v1 import exports_pb2 as pb

# Well below what a message may have; a row alone may be larger.
_LARGEST_PIECE = 1024 * 1024


class ExportService:
    """The rows of one schema."""

    service = pb.DESCRIPTOR.services_by_name["ExportService"]

    def __init__(self, export: Export) -> None:
        self._export = export

    async def stream_rows(
        self, request: pb.StreamRowsRequest, context: RequestContext
    ) -> AsyncIterator[pb.RowsPiece]:
        """All of them, and what there was."""
        async for piece in pieces(self._export, context):
            yield piece


async def pieces(export: Export, context: RequestContext) -> AsyncIterator[pb.RowsPiece]:
    """The rows of the context's organization as lines, and last how many there were of each table."""
    counts: Counter[str] = Counter()
    async for found in export.sets(context):
        counts[found.table] += len(found.rows)
        for part in _parts("".join(_lines(export.service, found)).encode()):
            yield pb.RowsPiece(lines=part)
    yield pb.RowsPiece(
        whole=pb.Whole(revision=export.revision, rows=counts, left_out=await export.left_out())
    )


def _lines(service: str, found: RowSet) -> Iterator[str]:
    # Names of ours, which need no escaping.
    beginning = f'{{"service":"{service}","table":"{found.table}","row":'
    for row in found.rows:
        yield f"{beginning}{row}}}\n"


def _parts(lines: bytes) -> Iterator[bytes]:
    for start in range(0, len(lines), _LARGEST_PIECE):
        yield lines[start : start + _LARGEST_PIECE]
