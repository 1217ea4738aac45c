"""What the peers in Python need of an event: when it was. Nothing but the standard library."""

import json
from datetime import UTC, datetime

__all__ = ["NO_TIME", "WINDOW_SECONDS", "parsed", "time_of"]

WINDOW_SECONDS = 10
#: Of a record that is no event: it must not stop a peer, and is counted like any other.
NO_TIME = datetime(2020, 1, 1, tzinfo=UTC)


def parsed(value: bytes | None) -> object:
    """Return the JSON of a record; None for what is none."""
    try:
        return json.loads(value or b"")
    except (ValueError, RecursionError):
        return None


def time_of(event: object) -> datetime:
    """Return an event's time in UTC."""
    try:
        return datetime.fromisoformat(event["time"]).astimezone(UTC)  # type: ignore[index] # what has no time is caught
    except (KeyError, TypeError, ValueError, OverflowError):
        return NO_TIME
