"""How the process logs: JSON lines for machines, colours on a terminal."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import sys
from datetime import UTC, datetime
from typing import BinaryIO, cast

import msgspec
import structlog

HELD_BACK = "held back"
"""Name of the logger whose lines may come a little later. There is one for each request, and to write it at once, and
have it read, takes longer than to make it."""
LONGEST_HELD_BACK = 0.1
"""Seconds."""


def configure(*, debug: bool, quiet: bool = False) -> None:
    """Send this project's events and the libraries' warnings to standard error; `quiet`: only warnings."""
    level = logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO
    terminal = sys.stderr.isatty()
    # Plain tracebacks: the fancy ones show local variables, and with them tokens.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[*_SHARED, console] if terminal else [_json],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr) if terminal else _logger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([console] if terminal else [structlog.processors.format_exc_info, _text]),
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


_SHARED: list[structlog.typing.Processor] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_encoder = msgspec.json.Encoder(enc_hook=repr)


class _HeldBack:
    """Standard error, where what comes within a moment is written together."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Hold back a line."""
        if not self._lines:
            asyncio.get_running_loop().call_later(LONGEST_HELD_BACK, self.write_out)
        self._lines.append(line)

    def flush(self) -> None:
        """Called after each line, which can wait."""

    def write_out(self) -> None:
        """Write what there is."""
        lines, self._lines = self._lines, []
        sys.stderr.buffer.write(b"".join(lines))
        sys.stderr.buffer.flush()


_held_back = _HeldBack()
write_out = atexit.register(_held_back.write_out)


def _logger(name: str | None = None, *_: object) -> structlog.BytesLogger:
    return structlog.BytesLogger(cast("BinaryIO", _held_back) if name == HELD_BACK else sys.stderr.buffer)


def _json(logger: object, method: str, event: structlog.typing.EventDict) -> bytes:
    """The line for an event of ours, in one step: a step for each thing would take longer than the thing."""
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    event["level"] = method
    event["timestamp"] = datetime.now(UTC).isoformat()[: -len("+00:00")] + "Z"
    return _encoded(event)


def _text(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    """The line for an event of a library."""
    return _encoded(event).decode()


def _encoded(event: structlog.typing.EventDict) -> bytes:
    try:
        return msgspec.json.format(_encoder.encode(event), indent=0)
    except UnicodeEncodeError:  # halves of characters, which come from an environment or a file that is not UTF-8
        return json.dumps(event, default=repr).encode()
