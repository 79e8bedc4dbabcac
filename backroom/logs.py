"""Structured logs: one event a line, as JSON or for people, with the standard library's own folded in."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

import structlog
from structlog.typing import Processor

from backroom.settings import Settings

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(settings: Settings, *, door: str, more: Sequence[Processor] = ()) -> None:
    """Set up this process's logs.

    Args:
        settings: `log_level` and `log_format`.
        door: Which door this process is: `web`, `worker`, `clock`.
        more: What else to do to each event.
    """
    level = _LEVELS[settings.log_level]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        *more,
        # Not a context variable: those do not reach the threads that a worker starts.
        lambda _logger, _method, event: {**event, "door": door},
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    final: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The pretty one shows local variables, and with them bodies, addresses and keys.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([structlog.processors.format_exc_info] if settings.log_format == "json" else []),
                final,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # They log what they send and to whom; an address or a body must not reach a log.
    for name in ("httpx", "urllib3", "twilio", "python_http_client", "smtplib", "apscheduler"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Dramatiq tells each message with all that is in it, once it is asked for details.
    for name in ("dramatiq", "workers.bind"):
        logging.getLogger(name).setLevel(max(level, logging.INFO))
