"""Logs: JSON lines to a rotating file, human lines to the terminal, the turn's id on each, no secrets."""

import logging
import logging.handlers
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from apps.shared.settings import Settings

FILE_LIMIT_BYTES = 5_000_000
FILES_KEPT = 4

# What follows one of these is a secret, wherever in a line it stands. Prose ("no first token within 8 s")
# puts neither a colon nor an equals sign there.
_SECRET = re.compile(
    r"((?:bearer\s+|oauth:|(?:password|secret|api_?key|token)[\"']?\s*[:=]\s*[\"']?))(?!\[)([^\s\"'&,;]{6,})",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(r"(?:.*_)?(?:password|secret|api_?key|token)", re.IGNORECASE)
_secrets: set[str] = set()

Event = MutableMapping[str, Any]


def never_log(secret: str) -> None:
    """Black out this text in every line from now on."""
    if len(secret) >= 6:
        _secrets.add(secret)


def redacted(text: str) -> str:
    """Return the text without known secrets and without what looks like one."""
    for secret in _secrets:
        text = text.replace(secret, "[redacted]")
    return _SECRET.sub(r"\1[redacted]", text)


def _redact(_logger: object, _method: str, event: Event) -> Event:
    for key, value in event.items():
        if isinstance(value, str) and key not in {"timestamp", "level"}:
            event[key] = "[redacted]" if _SECRET_NAME.fullmatch(key) else redacted(value)
    return event


def _name(module: str) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, event: Event) -> Event:
        event["module"] = module
        return event

    return add


def set_up(module: str, settings: Settings) -> None:
    """Send this process's structlog and standard-library logs to AIVT_DATA_DIR/logs and to stderr.

    A log file that cannot be written is said once on stderr; the show does not depend on it.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name(module),
        structlog.processors.format_exc_info,
        _redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    human = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _human],
    )
    lines = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(human)
    root = logging.getLogger()
    root.handlers[:] = [terminal]
    root.setLevel(settings.aivt_log_level.upper())
    for chatty in ("websockets", "uvicorn"):  # each connection, each frame
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        settings.logs_dir.mkdir(parents=True, exist_ok=True)
        file = logging.handlers.RotatingFileHandler(
            settings.logs_dir / f"{module}.jsonl",
            maxBytes=FILE_LIMIT_BYTES,
            backupCount=FILES_KEPT,
            encoding="utf-8",
            errors="backslashreplace",
        )
    except OSError as error:
        root.warning("no log file: %s", error)
        return
    file.setFormatter(lines)
    root.addHandler(file)


def _human(_logger: object, _method: str, event: Event) -> str:
    """12:00:01 policy   warning  model is silent  turn_id=... reason=..."""
    clock = str(event.pop("timestamp", ""))[11:19]
    module, level, said = event.pop("module", ""), event.pop("level", ""), event.pop("event", "")
    trace = event.pop("exception", "")
    rest = "  ".join(f"{key}={value}" for key, value in event.items() if value not in {"", None})
    mark = "" if level == "info" else f"{level}: "
    return (
        f"{clock} {module:<12} {mark}{said}" + (f"  {rest}" if rest else "") + (f"\n{trace}" if trace else "")
    )
