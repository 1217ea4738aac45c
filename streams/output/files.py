"""Files that hold what is meant for their owner alone."""

import os
from pathlib import Path

from schemas.errors import MustStop

__all__ = ["write_private"]


def write_private(out: Path, data: bytes) -> None:
    """Write ``data`` to ``out``, whole or not at all, for the owner alone to read (mode 600).

    Raises :class:`MustStop` if it cannot be written.
    """
    part = out.with_name(f"{out.name}.part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        part.replace(out)
    except OSError as error:
        raise MustStop(f"Could not write {out}: {error.strerror}", "Give another place with --out") from error
