"""The log of every long-running command: one line an entry on standard error, as text for people or as JSON.

Our own loggers are named ``classpulse`` and below. What libraries log tells their developers what a client does; ours say
what it means (``streams/output/dependency.py``). So a library's entry is shown at level DEBUG alone, unless it tells of an
exception: that is shown in one line of the same format, and again only after a while.
"""

import json
import logging
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from streams.output.terminal import printable

LogFormat = Literal["text", "json"]
ROOT: Final = "classpulse"
#: A library may report the same exception thirty times a second; once in so long is enough.
SAME_AGAIN_SECONDS: Final = 300.0
#: A shorter secret is a part of ordinary words; to replace it would spoil the log and tell what it is.
_SHORTEST_SECRET: Final = 6

log = logging.getLogger(ROOT)


def configure(log_format: LogFormat, level: str = "INFO", secrets: Sequence[str] = ()) -> None:
    """Send what this process logs from ``level`` on to standard error, warnings and unexpected failures included.

    ``secrets`` are replaced by ``***`` wherever they turn up.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FORMATTERS[log_format](secrets))
    handler.addFilter(_Filter(with_libraries=level == "DEBUG"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = lambda _kind, error, _trace: _note_failure(error)
    threading.excepthook = lambda failed: _note_failure(failed.exc_value)


def configured() -> bool:
    """Whether this process writes a log: then its last word belongs there."""
    return any(isinstance(handler.formatter, _Formatter) for handler in logging.getLogger().handlers)


def _note_failure(error: BaseException | None) -> None:
    log.critical("unexpected failure: %r", error, exc_info=error)


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == ROOT


class _Filter(logging.Filter):
    def __init__(self, *, with_libraries: bool) -> None:
        super().__init__()
        self._with_libraries = with_libraries
        self._said_at: dict[tuple[object, ...], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the entry is shown."""
        if self._with_libraries or _is_ours(record):
            return True
        # Places in code, and types: there are few, so this stays small.
        place = (record.pathname, record.lineno, record.exc_info and record.exc_info[0])
        now_seconds = time.monotonic()
        if not record.exc_info or now_seconds - self._said_at.get(place, -SAME_AGAIN_SECONDS) < SAME_AGAIN_SECONDS:
            return False
        self._said_at[place] = now_seconds
        return True


class _Formatter(logging.Formatter):
    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._secrets = sorted({secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)

    def message(self, record: logging.LogRecord) -> str:
        """Return the message in one line."""
        text = record.getMessage()
        if not _is_ours(record):
            text = " ".join(text.split())
            if record.exc_info and record.exc_info[1] is not None:
                text += f" ({record.exc_info[1]!r})"
        return self._safe(text)

    def traceback(self, record: logging.LogRecord) -> str:
        """Return where an unexpected failure of our own came from; empty for all else."""
        if not record.exc_info or not _is_ours(record):
            return ""
        return "\n".join(map(self._safe, self.formatException(record.exc_info).split("\n")))

    def _safe(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return printable(text)


class _Text(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = f"{self.formatTime(record)} {record.levelname} {record.name}: {self.message(record)}"
        return "\n".join(filter(None, (line, self.traceback(record))))


class _Json(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message(record),
        }
        if found := self.traceback(record):
            entry["traceback"] = found
        return json.dumps(entry, ensure_ascii=False)


_FORMATTERS: Final = {"text": _Text, "json": _Json}
