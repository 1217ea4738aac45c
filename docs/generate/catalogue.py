"""Which page gets its blocks from which module."""

from pathlib import Path

from docs.generate import capacity, events, example, metrics, operations, portraits, scores, settings, tables, worked
from docs.generate.pages import fill

__all__ = ["folder", "rendered"]


def folder() -> Path:
    """Return the folder of the pages in this checkout."""
    return Path(__file__).resolve().parents[2] / "docs"


def rendered(docs: Path) -> dict[Path, str]:
    """Return every page that has generated parts, as it should be; starts an embedded ClickHouse for a moment.

    Raises :class:`docs.generate.pages.PageError` for markers that do not fit, ``OSError`` for a missing page.
    """
    with tables.migrated_database() as client:
        blocks = {
            "events.md": events.blocks(),
            "metrics.md": metrics.blocks(),
            "capacity.md": capacity.blocks(),
            "adding-a-metric.md": example.blocks(),
            "settings.md": settings.blocks(),
            "operations.md": operations.blocks(),
            "tables.md": tables.blocks(client),
            "portraits.md": portraits.blocks(),
            "evaluation.md": scores.blocks(),
            worked.PAGE: worked.blocks(),
        }
    return {docs / page: fill(page, (docs / page).read_text(encoding="utf-8"), of_page) for page, of_page in blocks.items()}
