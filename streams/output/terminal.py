"""What the commands print, and the one rule for all of it: no control character of what was stored or sent passes on.

A terminal obeys what it is sent, and names, sources and errors come from devices and databases. So commands print through
:func:`echo`, :func:`echo_json` and :class:`Console` alone (the linter rejects click's and rich's own), and log through
records that escape their text.
"""

import json
import logging
import sys
from collections.abc import Iterable
from io import TextIOWrapper
from typing import Any, Final

import click
import rich.console
from rich.segment import Segment
from rich.text import Text

__all__ = ["Console", "echo", "echo_json", "json_text", "plain", "prepare", "printable"]

#: They shape a text and do nothing else.
_LAYOUT: Final = "\n\t"


def printable(text: str, *, keep: str = "") -> str:
    """Return ``text`` with everything escaped that a terminal could obey or hide: controls, direction marks.

    Characters of ``keep`` stay.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\u3000" or character in keep else _escaped(ord(character))
        for character in text
    )


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def plain(text: str, style: str = "") -> Text:
    """Return ``text`` for a table: as it is, without markup."""
    return Text(printable(text, keep=_LAYOUT), style=style)


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a text, on standard error with ``err``; lines and tabs stay, other control characters are escaped."""
    click.echo(printable(text, keep=_LAYOUT), err=err, nl=nl)


def echo_json(document: Any, *, indent: int | None = None, err: bool = False) -> None:
    """Print a document as :func:`json_text`."""
    click.echo(json_text(document, indent=indent), err=err)


def json_text(document: Any, *, indent: int | None = None) -> str:
    """Return a document as JSON that a program reads as it was, and that holds no control character."""
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    if not text.isprintable():
        # Outside of strings JSON has nothing to escape but the ends of lines.
        text = "".join(
            one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] if ord(one) > 0x7F else f"\\u{ord(one):04x}"
            for one in text
        )
    return text


class Console(rich.console.Console):
    """Rich's console; texts from outside lose their power over the terminal, the styles of ours stay."""

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as rich does, with escaped texts."""
        if isinstance(renderable, str):
            renderable = printable(renderable, keep=_LAYOUT)
        elif isinstance(renderable, Text) and not renderable.plain.isprintable():
            copy = renderable.copy()
            copy.plain = printable(renderable.plain, keep=_LAYOUT)
            renderable = copy
        return super().render(renderable, options)


class _Record(logging.LogRecord):
    """Escapes its text, whoever formats it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.exc_info:
            self.exc_text = printable(logging.Formatter().formatException(self.exc_info), keep=_LAYOUT)

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """Return the message as one line or several, without other control characters."""
        return printable(super().getMessage(), keep=_LAYOUT)


def prepare() -> None:
    """Make standard output and logs ready: any locale takes any text, and logs hold no control characters."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.setLogRecordFactory(_Record)
