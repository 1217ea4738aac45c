"""The error tree, split by what the caller can do.

- :class:`RetryLater`: nothing is wrong with the request; try again after a while (backpressure meanwhile).
  :class:`Unreachable` if there was no answer at all.
- :class:`MustStop`: going on would lose or falsify data, or cannot succeed; a person must act, the message says how.
  :class:`Rejected` if the other side gave a reason of which nothing is known, :class:`RowsRejected` if it will never take
  some row of an insert: then the rest can go on without that row.

A third class is no exception: a bad record becomes a reject and then a dead letter (see ``schemas/codec/decode.py``).
"""


class ClasspulseError(Exception):
    """Base of all errors of this product."""


class RetryLater(ClasspulseError):  # noqa: N818 - named after what to do
    """The other side is away or busy."""


class Unreachable(RetryLater):
    """The other side did not answer."""


class MustStop(ClasspulseError):  # noqa: N818 - named after what to do
    """The process must end; ``remedy`` tells a person what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}. {remedy}")
        self.remedy = remedy


class Rejected(MustStop):
    """The other side answered, and will not do this; ``code`` is its reason, 0 if it has none."""

    def __init__(self, message: str, remedy: str, code: int) -> None:
        super().__init__(message, remedy)
        self.code = code


class RowsRejected(Rejected):
    """The database will never take some row of an insert; ``code`` is ClickHouse's."""


class Stopping(ClasspulseError):  # noqa: N818 - named after what happens
    """The process was asked to stop while it waited; what was not finished will be replayed."""
