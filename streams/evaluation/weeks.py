"""ISO weeks as people write them."""

from datetime import date

__all__ = ["iso_week"]


def iso_week(monday: date) -> str:
    """Return the week as people write it, such as 2026-W47."""
    year, number, _day = monday.isocalendar()
    return f"{year}-W{number:02}"
