"""How the process logs: JSON lines for machines, colours on a terminal."""

from __future__ import annotations

import json
import logging
import sys

import msgspec
import structlog


def configure(*, debug: bool, quiet: bool = False) -> None:
    """Send this project's events and the libraries' warnings to standard error; `quiet`: only warnings."""
    level = logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    terminal = sys.stderr.isatty()
    rendering: list[structlog.typing.Processor] = (
        # Plain tracebacks: the fancy ones show local variables, and with them tokens.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if terminal
        else [structlog.processors.format_exc_info, _json]
    )
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


_encoder = msgspec.json.Encoder(enc_hook=repr)


def _json(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    """The line for an event."""
    try:
        return msgspec.json.format(_encoder.encode(event), indent=0).decode()
    except UnicodeEncodeError:  # halves of characters, which come from an environment or a file that is not UTF-8
        return json.dumps(event, default=repr)
