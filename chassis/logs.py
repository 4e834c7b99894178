"""Structured logs: one JSON object a line on stderr, each with what it belongs to, none with a secret."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from chassis import tracing
from chassis.context import RequestContext

_context: ContextVar[RequestContext | None] = ContextVar("log_context", default=None)

_SECRET_KEY = re.compile("password|secret|token|authorization|api_?key|cookie|private", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"fnk_(?:live|derived)_[0-9A-Za-z_-]+|(?i:(?<=bearer ))\S+|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
_HIDDEN = "***"


def configure(process: str, level: str = "INFO") -> None:
    """Send everything that is logged in this process, by libraries too, to stderr in one form."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Origin(process),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, redact, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(logging.getLevelName(level), logging.INFO), force=True)


def logger() -> FilteringBoundLogger:
    """Where events of this process are logged: `logger().info("import_finished", rows=12)`."""
    log: FilteringBoundLogger = structlog.get_logger()
    return log


@contextmanager
def about(context: RequestContext) -> Iterator[None]:
    """Whatever is logged inside belongs to this request or event."""
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)


class _Origin:
    """Adds the process and, where there are, the request, the organization and the trace."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = self._process
        context = _context.get()
        if context is not None:
            event.setdefault("request_id", context.request_id)
            if context.organization_id is not None:
                event.setdefault("organization_id", str(context.organization_id))
        if trace_id := tracing.trace_id():
            event["trace_id"] = trace_id
        return event


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide values whose name says that they are secret, and secrets that stand in any text."""
    return {key: _HIDDEN if _SECRET_KEY.search(key) else _redacted(value) for key, value in event.items()}


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET_TEXT.sub(_HIDDEN, value)
    if isinstance(value, dict):
        return {
            key: _HIDDEN if _SECRET_KEY.search(str(key)) else _redacted(item) for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _SECRET_TEXT.sub(_HIDDEN, str(value))
