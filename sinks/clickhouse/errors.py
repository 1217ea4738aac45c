"""What an error of ClickHouse means for whoever called: wait, stop, or take rows out of the write.

The lists hold what is known of ClickHouse's codes. A code in none of them is asked about again a few times
(:data:`ATTEMPTS_AT_UNKNOWN`) and then stops the caller: an answer that does not change is not repeated for ever.
"""

import re
from typing import Final

from clickhouse_connect.driver.exceptions import (
    DataError,
    Error,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
)

from schemas.errors import MustStop, Rejected, RetryLater, RowsRejected, Unreachable

__all__ = ["ATTEMPTS_AT_UNKNOWN", "PASSING", "REMEDIES", "ROW_FAULTS", "classify"]

#: Codes that waiting does not cure, each with what does.
REMEDIES: Final = {
    16: "A column is missing: run `classpulse migrate`",
    47: "A column is missing: run `classpulse migrate`",
    53: "A column has another type: run `classpulse migrate`",
    60: "A table is missing: run `classpulse migrate`",
    62: "The statement is not understood: check that the server is ClickHouse 25.10 or later",
    81: "The database is missing: run `classpulse migrate`",
    115: "The server does not know a setting: check that it is ClickHouse 25.10 or later",
    164: "This user may only read: give CLASSPULSE_CLICKHOUSE_USER the right to insert",
    192: "Check CLASSPULSE_CLICKHOUSE_USER",
    193: "Check CLASSPULSE_CLICKHOUSE_PASSWORD",
    194: "Set CLASSPULSE_CLICKHOUSE_PASSWORD",
    195: "Let this machine's address use this user in ClickHouse's configuration",
    452: "Let this user change the setting: see its settings profile in ClickHouse",
    472: "Let this user change the setting: see its settings profile in ClickHouse",
    497: "Grant this user the rights of deploy/clickhouse/users.sql",
    516: "Check CLASSPULSE_CLICKHOUSE_USER and CLASSPULSE_CLICKHOUSE_PASSWORD",
    720: "Extend the validity of this user, or use another one",
}

#: Codes that pass while one waits: connections, load, memory, disks, replicas, Keeper.
PASSING: Final = {
    3: "UNEXPECTED_END_OF_FILE",
    32: "ATTEMPT_TO_READ_AFTER_EOF",
    33: "CANNOT_READ_ALL_DATA",
    74: "CANNOT_READ_FROM_FILE_DESCRIPTOR",
    75: "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
    76: "CANNOT_OPEN_FILE",
    86: "RECEIVED_ERROR_FROM_REMOTE_IO_SERVER",
    95: "CANNOT_READ_FROM_SOCKET",
    96: "CANNOT_WRITE_TO_SOCKET",
    107: "FILE_DOESNT_EXIST",
    159: "TIMEOUT_EXCEEDED",
    160: "TOO_SLOW",
    173: "CANNOT_ALLOCATE_MEMORY",
    198: "DNS_ERROR",
    201: "QUOTA_EXCEEDED",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    203: "NO_FREE_CONNECTION",
    204: "CANNOT_FSYNC",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    225: "NO_ZOOKEEPER",
    236: "ABORTED",
    241: "MEMORY_LIMIT_EXCEEDED",
    242: "TABLE_IS_READ_ONLY",
    243: "NOT_ENOUGH_SPACE",
    252: "TOO_MANY_PARTS",
    254: "NO_ACTIVE_REPLICAS",
    279: "ALL_CONNECTION_TRIES_FAILED",
    285: "TOO_FEW_LIVE_REPLICAS",
    286: "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE",
    289: "REPLICA_IS_NOT_IN_QUORUM",
    297: "SHARD_HAS_NO_CONNECTIONS",
    319: "UNKNOWN_STATUS_OF_INSERT",
    364: "RECEIVED_ERROR_TOO_MANY_REQUESTS",
    369: "ALL_REPLICAS_ARE_STALE",
    373: "SESSION_IS_LOCKED",
    384: "PART_IS_TEMPORARILY_LOCKED",
    394: "QUERY_WAS_CANCELLED",
    415: "ALL_REPLICAS_LOST",
    416: "REPLICA_STATUS_CHANGED",
    425: "SYSTEM_ERROR",
    439: "CANNOT_SCHEDULE_TASK",
    473: "DEADLOCK_AVOIDED",
    499: "S3_ERROR",
    500: "AZURE_BLOB_STORAGE_ERROR",
    519: "NO_REMOTE_SHARD_AVAILABLE",
    529: "NOT_A_LEADER",
    568: "RAFT_ERROR",
    574: "DISTRIBUTED_TOO_MANY_PENDING_BYTES",
    667: "NOT_INITIALIZED",
    677: "THREAD_WAS_CANCELED",
    692: "TOO_MANY_MUTATIONS",
    700: "USER_SESSION_LIMIT_EXCEEDED",
    722: "ASYNC_LOAD_WAIT_FAILED",
    733: "TABLE_IS_BEING_RESTARTED",
    735: "QUERY_WAS_CANCELLED_BY_CLIENT",
    738: "PART_IS_LOCKED",
    745: "SERVER_OVERLOADED",
    749: "TCP_CONNECTION_LIMIT_REACHED",
    762: "HTTP_CONNECTION_LIMIT_REACHED",
    776: "RESOURCE_LIMIT_EXCEEDED",
    777: "MEMORY_RESERVATION_KILLED",
    778: "MEMORY_RESERVATION_FAILED",
    904: "TOO_MANY_UNAVAILABLE_SHARDS",
    999: "KEEPER_EXCEPTION",
}

#: Codes by which ClickHouse says that it will never take some row of an insert.
ROW_FAULTS: Final = {
    6: "CANNOT_PARSE_TEXT",
    27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    38: "CANNOT_PARSE_DATE",
    41: "CANNOT_PARSE_DATETIME",
    69: "ARGUMENT_OUT_OF_BOUND",
    72: "CANNOT_PARSE_NUMBER",
    117: "INCORRECT_DATA",
    131: "TOO_LARGE_STRING_SIZE",
    321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    395: "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO",
    407: "DECIMAL_OVERFLOW",
    469: "VIOLATED_CONSTRAINT",
}

#: So often in a row the same unknown code is taken for one that passes: with the waits between, some seconds.
ATTEMPTS_AT_UNKNOWN: Final = 6

LONGEST_TEXT_CHARACTERS: Final = 500
_ADVICE: Final = "Waiting does not help: docs/operations.md says what to do when ClickHouse rejects a request"
#: The driver ends an answer of ClickHouse with the address that was asked.
_URL: Final = re.compile(r"(?: \(version [^()]*(?:\([^()]*\))?[^()]*\))? \(for url \S+\)$")
_HTTP_STATUS: Final = re.compile(r"HTTP driver received HTTP status (\d{3})")
#: What a proxy says of a server that is away or busy.
_PASSING_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
#: The driver itself found fault with the request; the server was not asked.
_OUR_FAULT: Final = (ProgrammingError, DataError, InterfaceError, NotSupportedError)
_TOO_MANY_PARTITIONS: Final = "partitions for single INSERT block"
#: Then the row itself is in its table already, and only what a materialized view makes of it is not.
_IN_A_VIEW: Final = "pushing to view"


def classify(error: Exception, what: str) -> MustStop | RetryLater:
    """Return what the caller can do about ``error``, which stopped it from doing ``what``.

    :class:`Unreachable` if no ClickHouse answered, another :class:`RetryLater` for what passes, :class:`RowsRejected` for
    an insert with a row that is never taken, :class:`Rejected` for codes of which nothing is known, else :class:`MustStop`.
    """
    code = error.code if isinstance(error, Error) else None
    text = _URL.sub("", " ".join(str(error).split()))[:LONGEST_TEXT_CHARACTERS]
    said = f"Could not {what}: {text}"
    if code in REMEDIES:
        return MustStop(said, REMEDIES[code])
    if code in ROW_FAULTS and _IN_A_VIEW not in str(error):
        return RowsRejected(said, _ADVICE, code)
    if code in PASSING and _TOO_MANY_PARTITIONS not in str(error):
        return RetryLater(said)
    status = _HTTP_STATUS.search(text)
    if code is not None:
        return Rejected(said, _ADVICE, code)
    if status is not None and int(status[1]) not in _PASSING_STATUSES:
        advice = "This is no answer of ClickHouse: check CLASSPULSE_CLICKHOUSE_URL, and any proxy on the way"
        return Rejected(said, advice, int(status[1]))
    return Rejected(said, _ADVICE, 0) if isinstance(error, _OUR_FAULT) else Unreachable(said)
