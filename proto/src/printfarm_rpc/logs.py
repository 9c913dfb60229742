"""Structured logs: JSON, or readable text on a terminal. Request and run ids come along by context variables."""

import json
import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from . import prepare_logs

prepare_logs()

import structlog  # noqa: E402
from structlog.typing import EventDict, Processor  # noqa: E402

_SECRET = ("password", "secret", "token", "api_key", "authorization", "private_key", "nonce")
# Where lines are written without ceremony; None where they need the whole chain.
_lines: TextIO | None = None
_CONTROL = {code: f"\\x{code:02x}" for code in [*range(0x20), 0x7F]}


def configure(program: str, *, level: str = "INFO", stream: Any = None) -> None:
    """Once per process, by its entry point. Third parties' ``logging`` records take the same way."""
    out = stream or sys.stderr
    readable = out.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact,
        _escape,
    ]
    final: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=readable, exception_formatter=structlog.dev.plain_traceback)]
        if readable
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        # First of all: a line that nobody will see costs next to nothing.
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(program=program)
    global _lines
    _lines = None if readable or root.level > logging.INFO else out


def line(event: str, **facts: str | float) -> None:
    """As ``info`` of a logger, for a path that is walked thousands of times a second. The caller vouches that no fact is a
    secret; whatever is in the text, it stays one line."""
    if _lines is None:
        if not logging.getLogger().isEnabledFor(logging.INFO):
            return
        structlog.get_logger("printfarm").info(event, **facts)
        return
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    row = {**facts, "event": event, **structlog.contextvars.get_contextvars(), "level": "info", "timestamp": at}
    # As everywhere in logging: that a line cannot be written stops nobody's request.
    with suppress(OSError, ValueError):
        _lines.write(json.dumps(row, default=str) + "\n")


def _redact(_logger: object, _name: str, event: EventDict) -> EventDict:
    for key in event:
        if any(word in key.lower() for word in _SECRET):
            event[key] = "[redacted]"
    return event


def _escape(_logger: object, _name: str, event: EventDict) -> EventDict:
    """A line of the log is one fact: nobody's text may begin another."""
    for key, value in event.items():
        if isinstance(value, str) and key != "exception":
            event[key] = value.translate(_CONTROL)
    return event
