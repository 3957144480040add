"""Structured logs on standard error, one event a line, with the call id of whatever call it belongs to."""

import logging
import sys
from contextvars import ContextVar
from typing import Literal, TypeAlias
from uuid import UUID

import structlog

CALL_ID: ContextVar[UUID | None] = ContextVar("call_id", default=None)
"""The call that is served."""

Format: TypeAlias = Literal["auto", "json", "console"]


def configure(format: Format, level: str) -> None:
    """Set up structlog, and send what libraries log with the standard library the same way."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        name_call,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if is_for_people(format) else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.getLogger("web3").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def name_call(logger: object, name: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """Looked up when something is logged: binding it would cost every call, and nearly none logs anything."""
    call_id = CALL_ID.get()
    if call_id is not None:
        event.setdefault("call_id", str(call_id))
    return event


def is_for_people(format: Format) -> bool:
    return format == "console" or (format == "auto" and sys.stderr.isatty())
