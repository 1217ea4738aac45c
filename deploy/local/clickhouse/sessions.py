"""Sessions: what `session_id` keeps between requests, for whom, and for how long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from deploy.local.clickhouse.engine import Connection
from deploy.local.clickhouse.errors import EngineError

__all__ = ["Session", "Sessions"]

_MOST_SESSIONS = 1_000


@dataclass(slots=True)
class Session:
    """One session of one user. `settings` are literals set by SET; `connection` exists once there is a state."""

    user_name: str
    session_id: str
    timeout_seconds: int
    expires_at_seconds: float
    busy: bool = True
    has_state: bool = False
    database: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    connection: Connection | None = None


class Sessions:
    """All sessions of a server. Thread-safe; `now` gives monotonic seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._sessions: dict[tuple[str, str], Session] = {}
        self._lock = threading.Lock()

    def take(self, user_name: str, session_id: str, timeout_seconds: int, *, must_exist: bool) -> Session:
        """Take a session for one request; give it back with `release`.

        Raises EngineError: 372 when it must exist and does not, 373 when another request holds it,
        202 when there are too many.
        """
        with self._lock:
            key = (user_name, session_id)
            session = self._sessions.get(key)
            if session is not None and session.busy:
                raise EngineError(373, f"Session {session_id[:100]} is locked by a concurrent client.")
            if session is not None and session.expires_at_seconds < self._now():
                _close(self._sessions.pop(key))
                session = None
            if session is None:
                if must_exist:
                    raise EngineError(372, f"Session {session_id[:100]} not found")
                if len(self._sessions) >= _MOST_SESSIONS:
                    raise EngineError(202, f"Too many sessions, the limit is {_MOST_SESSIONS}; close some")
                session = Session(user_name, session_id, timeout_seconds, 0.0)
                self._sessions[key] = session
            session.busy = True
            session.timeout_seconds = timeout_seconds
            return session

    def release(self, session: Session, *, close: bool = False) -> None:
        """Give a session back; it lives on for its timeout, unless `close`."""
        with self._lock:
            session.busy = False
            session.expires_at_seconds = self._now() + session.timeout_seconds
            if close:
                self._sessions.pop((session.user_name, session.session_id), None)
        if close:
            _close(session)

    def drop_expired(self) -> None:
        """Close the sessions whose time is over."""
        with self._lock:
            now = self._now()
            expired = [key for key, one in self._sessions.items() if not one.busy and one.expires_at_seconds < now]
            closing = [self._sessions.pop(key) for key in expired]
        for session in closing:
            _close(session)

    def close(self) -> None:
        """Close every session; for the end of the server."""
        with self._lock:
            closing = list(self._sessions.values())
            self._sessions.clear()
        for session in closing:
            _close(session)


def _close(session: Session) -> None:
    connection, session.connection = session.connection, None
    if connection is not None:
        connection.close()
