"""The generated blocks of a page, and how they get into it.

A page is written by hand. A block between ``<!-- generated: NAME -->`` and ``<!-- end -->`` is replaced by what the
code says; everything else stays as it is.
"""

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["PageError", "fill"]

_BLOCK: Final = re.compile(r"<!-- generated: (?P<name>[a-z0-9-]+) -->\n(?P<body>.*?)<!-- end -->", re.DOTALL)
_MARKER: Final = re.compile(r"<!-- (?:generated\b.*?|end) -->")


class PageError(ValueError):
    """The markers of a page and the blocks for it do not fit together; the message says what to change."""


def fill(page: str, text: str, blocks: Mapping[str, str]) -> str:
    """Return ``text`` with every block replaced; ``page`` is its name, for the error.

    Raises :class:`PageError` for a marker without its partner, a block that nothing generates, and one that the page
    has not exactly once.
    """
    found = [match["name"] for match in _BLOCK.finditer(text)]
    if len(_MARKER.findall(text)) != 2 * len(found):
        raise PageError(f"{page}: every `<!-- generated: NAME -->` needs one `<!-- end -->` in a line after it")
    if unknown := sorted(set(found) - set(blocks)):
        raise PageError(f"{page}: nothing generates {', '.join(unknown)}; there are {', '.join(sorted(blocks))}")
    if wrong := sorted(name for name in blocks if found.count(name) != 1):
        raise PageError(f"{page}: needs exactly one `<!-- generated: NAME -->` for each of {', '.join(wrong)}")
    return _BLOCK.sub(
        lambda match: f"<!-- generated: {match['name']} -->\n\n{blocks[match['name']].strip()}\n\n<!-- end -->", text
    )
