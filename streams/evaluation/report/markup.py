"""HTML and SVG as text in which everything is escaped, unless it was made here.

Names and ids come from outside, so a plain ``str`` is always text; only :class:`Markup` is taken as it is.
"""

import html
import re
from typing import Final

__all__ = ["Markup", "element", "escaped", "join"]

#: Neither HTML nor XML may hold them, not even escaped.
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
#: They could make text look as if it stood elsewhere.
_DIRECTIONS: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_VOID: Final = frozenset({"meta", "br", "hr", "col"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Return ``text`` as markup that shows it, whatever it holds."""
    clean = _DIRECTIONS.sub("\N{REPLACEMENT CHARACTER}", _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text))
    return Markup(html.escape(clean, quote=True))


def element(name: str, /, *children: str | None, **attributes: str | float | None) -> Markup:
    """Return an element. ``class_`` gives ``class``, ``stroke_width`` gives ``stroke-width``; None is left out."""
    present = {key: value for key, value in attributes.items() if value is not None}
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"' for key, value in present.items())
    if name in _VOID or (name in {"path", "line", "rect", "circle", "polyline"} and not children):
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{join(*children)}</{name}>")


def join(*children: str | None) -> Markup:
    """Return the children one after the other; what is no markup is escaped, None is left out."""
    shown = (child for child in children if child is not None)
    return Markup("".join(child if isinstance(child, Markup) else escaped(child) for child in shown))


def _attribute(value: str | float) -> str:
    if isinstance(value, str):
        return escaped(value)
    return f"{value:z.2f}".rstrip("0").rstrip(".")
