"""Which characters text may hold, as patterns that the regular expressions of every language read alike.

Ranges, not properties by name: Python knows no ``\\p{Cf}``, and the engines' tables are of different versions of
Unicode, so that the verdict on a record would depend on who read it. For the same reason a character that is not
assigned yet is accepted: next year it may be in somebody's name. ECMAScript needs its ``u`` flag, as JSON Schema
recommends. Source: Unicode 17, ``UnicodeData``, ``PropList`` and ``DerivedCoreProperties``; a test holds the ranges to
Python's own table.
"""

from collections.abc import Iterable
from typing import Final

_Range = tuple[int, int]

#: Cc, Zl, Zp and Bidi_Control: they end lines, drive terminals and turn the order of what is read.
CONTROLS: Final[tuple[_Range, ...]] = (
    *((0x0000, 0x001F), (0x007F, 0x009F), (0x061C, 0x061C), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x2069)),
)
#: White_Space, Cc, Cf and Default_Ignorable_Code_Point (zero-width characters, variation selectors, fillers), the blank
#: Braille pattern, private use, noncharacters, and U+FFFD, which stands for text that was lost: what nobody sees, or what
#: means nothing to others, would make two identities of one, or one of two.
UNSEEN: Final[tuple[_Range, ...]] = (
    *((0x0000, 0x0020), (0x007F, 0x00A0), (0x00AD, 0x00AD), (0x034F, 0x034F), (0x0600, 0x0605), (0x061C, 0x061C)),
    *((0x06DD, 0x06DD), (0x070F, 0x070F), (0x0890, 0x0891), (0x08E2, 0x08E2), (0x115F, 0x1160), (0x1680, 0x1680)),
    *((0x17B4, 0x17B5), (0x180B, 0x180F), (0x2000, 0x200F), (0x2028, 0x202F), (0x205F, 0x206F), (0x2800, 0x2800)),
    *((0x3000, 0x3000), (0x3164, 0x3164), (0xE000, 0xF8FF), (0xFDD0, 0xFDEF), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFFF), (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1343F)),
    *((0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF), (0xEFFFE, 0x10FFFF)),
    *((plane + 0xFFFE, plane + 0xFFFF) for plane in range(0x10000, 0xE0000, 0x10000)),
)


def one_of(ranges: Iterable[_Range]) -> str:
    """Return ``ranges`` as they stand within brackets: the characters themselves, since engines share no escape."""
    return "".join(chr(first) if first == last else f"{chr(first)}-{chr(last)}" for first, last in ranges)


def others(ranges: Iterable[_Range]) -> str:
    """Return a pattern for one character that is in none of ``ranges``."""
    return f"[^{one_of(ranges)}]"
