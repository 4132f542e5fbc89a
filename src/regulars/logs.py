"""Structured logs: one JSON object a line, or coloured text on a terminal. Secrets are never given to a logger."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog


def without_colour(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop uvicorn's second, coloured copy of a message."""
    event.pop("color_message", None)
    return event


def configure(format: str, level: str) -> None:
    """Send every logger of the process to stderr. `format` is json, pretty or auto; `level` a name of `logging`."""
    pretty = format == "pretty" or (format == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_colour,
    ]
    last: list[Any] = (
        [structlog.dev.ConsoleRenderer()]
        if pretty
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
