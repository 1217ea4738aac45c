"""Numbers as people read them: without an exponent, and without a minus before zero."""

import math
from typing import Final

__all__ = ["fixed", "significant"]

#: Decimals beyond this say nothing to anybody.
_MOST_DECIMALS: Final = 6


def fixed(value: float, decimals: int) -> str:
    """Return a number with ``decimals`` decimals and commas between thousands."""
    return f"{value:z,.{decimals}f}"


def significant(value: float, digits: int) -> str:
    """Return a number with ``digits`` significant digits, at most six decimals, and no zeros at their end."""
    if not value or not math.isfinite(value):
        return fixed(value, 0)
    # As it is once rounded: 999.9 has one digit more than it seems.
    size = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    text = fixed(value, min(max(digits - 1 - size, 0), _MOST_DECIMALS))
    return text.rstrip("0").rstrip(".") if "." in text else text
