"""Markdown: tables, code, and values as a reader wants to see them."""

import json
from collections.abc import Iterable, Sequence

__all__ = ["cell", "code", "fenced", "table", "value"]


def cell(text: str) -> str:
    """Return ``text`` as it may stand in a cell of a table: on one line, and no pipe that ends the cell."""
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    """Return ``text`` as inline code."""
    return f"`{text}`"


def value(content: object) -> str:
    """Return a JSON value as inline code; the empty text for nothing."""
    return "" if content is None else code(json.dumps(content, ensure_ascii=False))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; each row has as many cells as there are ``headings``."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell(text) for text in line)} |" for line in lines)


def fenced(language: str, text: str) -> str:
    """Return ``text`` as a block of code."""
    return f"```{language}\n{text}\n```"
