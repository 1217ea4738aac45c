"""``python -m docs.generate``: write the generated parts of the pages; with ``--check``, only say what is stale."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate.catalogue import folder, rendered

__all__ = ["main", "run"]


def main(arguments: list[str] | None = None) -> int:
    """Write the pages; return the exit status: 0, or 1 with ``--check`` if a page is not what the code says."""
    return run("python -m docs.generate", __doc__, rendered, "every page says what the code says", arguments)


def run(
    program: str, about: str | None, made: Callable[[Path], Mapping[Path, str]], fine: str, arguments: list[str] | None
) -> int:
    """Write those files that are not as ``made`` makes them for a folder of pages, or with ``--check`` name them.

    ``fine`` is said if there is none. Returns the exit status: 0, or 1 with ``--check`` if a file is stale.
    """
    parser = argparse.ArgumentParser(prog=program, description=about)
    parser.add_argument("--docs", type=Path, default=folder(), help="folder of the pages")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is stale")
    options = parser.parse_args(arguments)
    stale = {
        path: text
        for path, text in made(options.docs).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    for path, text in stale.items():
        if not options.check:
            path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.name}: {'stale, run `make docs`' if options.check else 'written'}\n")
    if not stale:
        sys.stdout.write(f"{fine}\n")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
