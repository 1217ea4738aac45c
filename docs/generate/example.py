"""``docs/adding-a-metric.md``: the pieces of one metric, as they stand in the code."""

import re
from pathlib import Path
from typing import Final

from docs.generate.metrics import section
from schemas.metrics.catalogue import METRICS

__all__ = ["blocks"]

_NAME: Final = "long_wait_share"
_ROOT: Final = Path(__file__).resolve().parents[2]
_DECLARATION: Final = (
    "schemas/metrics/classroom/waiting.py",
    r'    Metric\(\n        name="long_wait_share".*?\n    \),',
)
_FOLD: Final = (
    "streams/core/classroom/waiting.py",
    r" *long=\(wait_us.*?,",
    r'        metric_rows\(\n            "long_wait_share".*?\n        \),',
)
_SQL: Final = (
    "sinks/sql/verify/classroom/waiting.sql",
    r" *\(\n *'long_wait_share'[^\n]*\n[^\n]*\n *\),?",
)


def blocks() -> dict[str, str]:
    """Return the blocks of ``docs/adding-a-metric.md`` by name.

    Raises ``LookupError`` if a piece is no longer where this says.
    """
    metric = next(metric for metric in METRICS if metric.name == _NAME)
    return {
        "declaration": _excerpt("python", *_DECLARATION),
        "fold": _excerpt("python", *_FOLD),
        "sql": _excerpt("clickhouse", *_SQL),
        "page": section(metric),
    }


def _excerpt(language: str, path: str, *patterns: str) -> str:
    text = (_ROOT / path).read_text(encoding="utf-8")
    found = [match[0] if (match := re.search(pattern, text, re.DOTALL)) else None for pattern in patterns]
    if None in found:
        raise LookupError(f"{path} no longer holds {patterns[found.index(None)]!r}; correct docs/generate/example.py")
    pieces = "\n...\n".join(piece for piece in found if piece)
    return f"`{path}`\n\n```{language}\n{pieces}\n```"
