"""``python -m deploy.documents``: write the generated parts of the pages; with ``--check``, only say what is stale."""

import argparse
import sys
from pathlib import Path

from deploy.documents.catalogue import folder, rendered


def main(arguments: list[str] | None = None) -> int:
    """Write the pages; return the exit status: 0, or 1 with ``--check`` if a page is not what the code says."""
    parser = argparse.ArgumentParser(prog="python -m deploy.documents", description=__doc__)
    parser.add_argument("--docs", type=Path, default=folder(), help="folder of the pages")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is stale")
    options = parser.parse_args(arguments)
    stale = {page: text for page, text in rendered(options.docs).items() if page.read_text(encoding="utf-8") != text}
    for page, text in stale.items():
        if not options.check:
            page.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{page.name}: {'stale, run `make docs`' if options.check else 'written'}\n")
    if not stale:
        sys.stdout.write("every page says what the code says\n")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
