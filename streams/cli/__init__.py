"""The command ``classpulse``, one module a command."""

from streams.cli.program import main

__all__ = ["main"]
