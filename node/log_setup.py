"""Logs: one JSON object a line on standard error, free of patient data.

Every line carries `time` (aware UTC, ISO 8601), `level`, `event` (a short snake_case name),
`process` and `pid`. What passes here is filtered once more on its way out: keys that name a
patient are dropped, UIDs become their short hash, text becomes printable ASCII, exceptions
become class names and `module:line` frames. Messages of other people's libraries may quote a
data set, so of them only the logger's name and the place in the code are kept.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from io import TextIOBase
from pathlib import PurePath
from types import TracebackType
from typing import TextIO, TypeAlias, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from config.settings import LogSettings
from storage.instance_files import uid_tag

LogValue: TypeAlias = "bool | int | float | str | list[LogValue] | dict[str, LogValue] | None"

_LONGEST_TEXT = 500
_EVENT_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_UID = re.compile(r"(?<![\w.])[0-2](?:\.\d+){5,}(?![\w.])")
_PATIENT_WORDS = re.compile(
    r"patient|birth|accession|physician|operator|mrn|family|given|dataset|identifier"
    r"|study_?(id|desc|date)|series_desc|password|secret|token|authorization",
    re.IGNORECASE,
)
_MEMORY_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


class _Forgiving(TextIOBase):
    """A stream whose full disk or closed pipe costs a line of the log, and not what it tells of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or lose the line."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or lose what was not flushed."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def _forgiving(stream: TextIO) -> TextIO:
    return cast("TextIO", _Forgiving(stream))


def configure_logging(settings: LogSettings, *, process: str, stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's records to `stream` (default: stderr)."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    structlog.configure(
        processors=_processors(settings, process),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=_forgiving(stream or sys.stderr)),
        cache_logger_on_first_use=False,
    )
    _capture_standard_library()
    _capture_uncaught()


def _processors(settings: LogSettings, process: str) -> list[Processor]:
    renderer: Processor = structlog.processors.JSONRenderer()
    if settings.format == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=False, timestamp_key="time")
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _describe_exception,
        redact,
        _stamp(process),
        renderer,
    ]


def _stamp(process: str) -> Processor:
    """Return the processor that puts time, level, event, process and pid in front."""

    def stamp(logger: WrappedLogger, method: str, event_dict: EventDict) -> EventDict:
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": event_dict.pop("level", method),
            "event": event_dict.pop("event", "unnamed"),
            "process": process,
            "pid": os.getpid(),
            **event_dict,
        }

    return stamp


def redact(logger: WrappedLogger, method: str, event_dict: EventDict) -> EventDict:
    """Drop what names a patient and make the rest harmless; the last line of defence."""
    clean: MutableMapping[str, object] = {
        key: safe_value(value)
        for key, value in event_dict.items()
        if not _PATIENT_WORDS.search(key)
    }
    event = event_dict.get("event")
    if not (isinstance(event, str) and _EVENT_NAME.fullmatch(event)):
        clean["event"] = "free_text_withheld"
    return clean


def safe_value(value: object) -> LogValue:
    """Return `value` fit for a log line; an unknown type leaves only its class name."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return safe_value(value.value)
    if type(value) is str or isinstance(value, PurePath):
        return safe_text(str(value))
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {
            safe_text(str(key)): safe_value(item)
            for key, item in value.items()
            if not _PATIENT_WORDS.search(str(key))
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [safe_value(item) for item in value]
    return type(value).__name__


def safe_text(text: str) -> str:
    """Return printable ASCII without UIDs, at most 500 characters."""
    hashed = _UID.sub(lambda match: f"uid:{uid_tag(match.group())}", text)
    printable = "".join(c if " " <= c <= "~" else "?" for c in hashed[:_LONGEST_TEXT])
    return _MEMORY_ADDRESS.sub("0x", printable)


def frames(trace: TracebackType | None) -> list[str]:
    """Return the way to an error as `module:line`, outermost first, without any value."""
    return [
        f"{frame.f_globals.get('__name__', '?')}:{line}" for frame, line in traceback.walk_tb(trace)
    ]


def describe_error(error: BaseException) -> str:
    """Return class and place of an error; never its text, which may quote a data set."""
    way = frames(error.__traceback__)
    return f"{type(error).__name__} at {way[-1]}" if way else type(error).__name__


def _describe_exception(logger: WrappedLogger, method: str, event_dict: EventDict) -> EventDict:
    error = event_dict.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event_dict["error"] = type(error).__name__
        event_dict["frames"] = frames(error.__traceback__)
        if cause := error.__cause__:
            event_dict["cause"] = describe_error(cause)
    return event_dict


class _StandardLibraryBridge(logging.Handler):
    """Writes records of other libraries through structlog, without their text."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno,
            "library_message",
            logger=record.name,
            where=f"{record.module}:{record.lineno}",
            exc_info=record.exc_info,
        )


def _capture_standard_library() -> None:
    root = logging.getLogger()
    root.handlers = [_StandardLibraryBridge()]
    root.setLevel(logging.WARNING)
    for name in ("pynetdicom", "pydicom", "httpx", "httpcore", "apscheduler", "alembic"):
        library = logging.getLogger(name)
        library.setLevel(logging.WARNING)
        library.handlers = []
        library.propagate = True
    # It warns whenever an act is due while it still runs, which here is as it should be.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    warnings.showwarning = _show_warning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Log a Python warning without its text: pydicom's quote the values they dislike."""
    structlog.get_logger().debug(
        "library_warning", category=category.__name__, where=f"{PurePath(filename).name}:{lineno}"
    )


def _capture_uncaught() -> None:
    """Log what nobody caught without its text, instead of Python's own traceback."""

    def log(error: BaseException | None) -> None:
        structlog.get_logger().critical("uncaught_error", exc_info=error)

    sys.excepthook = lambda kind, error, trace: log(error)
    sys.unraisablehook = lambda unraisable: log(unraisable.exc_value)
    threading.excepthook = lambda args: log(args.exc_value)
