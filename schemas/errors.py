"""The error tree, split by what the caller can do.

- :class:`RetryLater`: nothing is wrong with the request; try again after a while (backpressure meanwhile).
- :class:`MustStop`: going on would lose or falsify data, or cannot succeed; a person must act, the message says how.

A third class is no exception: a bad record becomes a reject and then a dead letter (see ``schemas/codec.py``).
"""


class ClasspulseError(Exception):
    """Base of all errors of this product."""


class RetryLater(ClasspulseError):  # noqa: N818 - named after what to do
    """The other side is away or busy."""


class MustStop(ClasspulseError):  # noqa: N818 - named after what to do
    """The process must end; ``remedy`` tells a person what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}. {remedy}")
        self.remedy = remedy


class Stopping(ClasspulseError):  # noqa: N818 - named after what happens
    """The process was asked to stop while it waited; what was not finished will be replayed."""
