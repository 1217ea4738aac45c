"""What the pages say is what the code says."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from docs.generate import events, metrics, tables
from docs.generate.__main__ import main
from docs.generate.catalogue import rendered
from docs.generate.pages import PageError, fill
from schemas.codec.decode import ClockLimits, decode
from schemas.codec.records import Reason
from schemas.events.event_types import FAMILIES, MODELS, Family
from schemas.metrics.catalogue import METRICS

#: 2026-11-16T08:06:00+08:00, a minute after the examples' time.
NOW_US = 1_794_787_560_000_000
CLOCK = ClockLimits(earliest_us=0, max_ahead_us=3_600_000_000)


@dataclass(frozen=True)
class Example:
    """An example of the page as a Kafka record."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    offset: int = 0
    timestamp: int = NOW_US // 1000


def examples(page: str, name: str) -> list[Example]:
    """Make an event of one type in both modes from the page, as a vendor does.

    The family's example gives the envelope, the type's section ``type``, ``dataschema`` and ``data``.
    """
    family = page.split(f"<!-- generated: family-{name.split('.', maxsplit=1)[0]} -->", 1)[1]
    keys = re.findall(r"record key `([^`]+)`", family)
    assert len(set(keys[:2])) == 1
    structured, headers = re.findall(r"```\w+\n(.*?)\n```", family, re.DOTALL)[:2]
    section = family.split(f"### {name}\n", 1)[1]
    own = re.findall(r"`(type|dataschema)`: `([^`]+)`", section)[:2]
    data = re.findall(r"```json\n(.*?)\n```", section, re.DOTALL)[0]
    event = json.loads(structured) | dict(own) | {"data": json.loads(data)}
    pairs = dict(line.split(": ", 1) for line in headers.splitlines())
    pairs |= {f"ce_{attribute}": text for attribute, text in own}
    cloudevent = (("content-type", b"application/cloudevents+json"),)
    binary = tuple((header, text.encode()) for header, text in pairs.items())
    return [
        Example(keys[0].encode(), json.dumps(event, ensure_ascii=False).encode(), cloudevent),
        Example(keys[0].encode(), data.encode(), binary),
    ]


def test_every_page_is_what_the_generator_would_write(docs: Path) -> None:
    """No page differs from the code; `make docs` mends one that does."""
    stale = [page.name for page, text in rendered(docs).items() if page.read_text(encoding="utf-8") != text]
    assert stale == [], "run `make docs`"


def test_check_finds_a_stale_page_and_writing_mends_it(docs: Path, tmp_path: Path) -> None:
    """A page with an outdated block fails the check, and is right after the next run; hand-written text stays."""
    for page in docs.glob("*.md"):
        (tmp_path / page.name).write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    settings = tmp_path / "settings.md"
    good = settings.read_text(encoding="utf-8")
    settings.write_text(good.replace("`CLASSPULSE_GROUP` | text", "`CLASSPULSE_CLUB` | text"), encoding="utf-8")
    assert main(["--docs", str(tmp_path), "--check"]) == 1
    assert main(["--docs", str(tmp_path)]) == 0
    assert settings.read_text(encoding="utf-8") == good


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- generated: a -->\n", "needs one `<!-- end -->`"),
        ("text <!-- end -->\n", "needs one `<!-- end -->`"),
        ("<!-- generated: b -->\n<!-- end -->\n", "nothing generates b"),
        ("nothing", "needs exactly one `<!-- generated: NAME -->` for each of a"),
        ("<!-- generated: a -->\n<!-- end -->\n" * 2, "needs exactly one"),
    ],
)
def test_markers_that_do_not_fit_are_rejected(text: str, message: str) -> None:
    """A page cannot lose a block, keep one that nothing generates, or have a marker without its partner."""
    with pytest.raises(PageError, match=re.escape(message)):
        fill("page.md", text, {"a": "content"})


@pytest.mark.parametrize("name", MODELS)
def test_a_vendor_can_copy_every_example(docs: Path, name: str) -> None:
    """What the page tells of each event type is accepted as that type in both modes, with the same values."""
    page = (docs / "events.md").read_text(encoding="utf-8")
    family = next(family for family in FAMILIES if name in family.models)
    structured, binary = (decode(family, [example], clock=CLOCK, now_us=NOW_US) for example in examples(page, name))
    assert (structured.rejects, binary.rejects) == ([], [])
    assert structured.events["type"].to_list() == [name]
    assert structured.events.equals(binary.events)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_example_of_a_family_can_be_copied_as_it_stands(docs: Path, family: Family) -> None:
    """The example of each family in structured mode is accepted without a change, as its first type."""
    page = (docs / "events.md").read_text(encoding="utf-8").split(f"<!-- generated: family-{family.name} -->", 1)[1]
    key, value = re.findall(r"record key `([^`]+)`", page)[0], re.findall(r"```json\n(.*?)\n```", page, re.DOTALL)[0]
    headers = (("content-type", b"application/cloudevents+json"),)
    decoded = decode(family, [Example(key.encode(), value.encode(), headers)], clock=CLOCK, now_us=NOW_US)
    assert decoded.rejects == []
    assert decoded.events["type"].to_list() == [next(iter(family.models))]


def test_the_page_gives_the_bounds_of_a_field(docs: Path) -> None:
    """A field's row says unit, bounds and choices in words."""
    rows = (docs / "events.md").read_text(encoding="utf-8").splitlines()
    latency = next(row for row in rows if row.startswith("| `latency_ms`"))
    assert "| whole number | milliseconds; 0 to 86,400,000 | no |" in latency
    strategy = next(row for row in rows if row.startswith("| `strategy`"))
    assert "`question_led` / `situational` / `interactive` / `evaluative` / `digital`" in strategy


def test_every_reason_has_a_meaning_and_a_remedy() -> None:
    """No dead letter leaves its reader without knowing what to do."""
    assert set(events.REASONS) == set(Reason)
    assert all(len(row) == 3 and all(row) for row in events.reason_rows())


def test_every_metric_is_on_the_page_with_its_formula() -> None:
    """Each metric has a section with numerator and denominator as declared."""
    blocks = metrics.blocks()
    for metric in METRICS:
        section = blocks[f"family-{metric.family}"].split(f"### {metric.name}\n")[1]
        assert f"| numerator | {metric.numerator} |" in section
        assert f"| denominator | {metric.denominator} |" in section


def test_every_column_of_every_view_and_table_has_a_meaning(database: Client) -> None:
    """No cell under `meaning` is empty, in the contract and below it."""
    blocks = tables.blocks(database)
    rows = [line for name in ("views", "tables") for line in blocks[name].splitlines() if line.startswith("| `")]
    # A materialized view's columns are those of the table it fills.
    columns = database.query(
        "SELECT count() FROM system.columns WHERE database = currentDatabase() AND table NOT IN"
        " (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'MaterializedView')"
    ).result_rows[0][0]
    # The columns and parameters of views with parameters are not in system.columns.
    assert len(rows) >= columns
    assert all(row.rstrip(" |").count(" | ") >= 2 for row in rows)
    assert [row for row in rows if row.endswith("|  |")] == []


def test_a_view_column_without_a_meaning_stops_the_generator(database: Client) -> None:
    """A new column of a view cannot go undocumented."""
    database.command("CREATE VIEW v1_unheard_of AS SELECT 1 AS mystery")
    try:
        with pytest.raises(LookupError, match=r"v1_unheard_of\.mystery has no meaning"):
            tables.blocks(database)
    finally:
        database.command("DROP VIEW v1_unheard_of")


def test_the_queries_on_the_pages_run(docs: Path, database: Client) -> None:
    """Every query is understood by the engine against the product's tables, and every other statement by its parser."""
    pages = [page.read_text(encoding="utf-8") for page in docs.rglob("*.md")]
    queries = [query for page in pages for query in re.findall(r"```sql\n(.*?)```", page, re.DOTALL)]
    assert len(queries) >= 3
    for statement in (one.strip() for query in queries for one in query.split(";") if one.strip()):
        if statement.lstrip("-").startswith(("SELECT", "WITH")):
            database.query(statement)
        else:
            assert database.query(f"EXPLAIN AST {statement}").result_rows


def test_structured_examples_are_json(docs: Path) -> None:
    """Every block that claims to be JSON is."""
    page = (docs / "events.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```json\n(.*?)\n```", page, re.DOTALL)
    assert len(blocks) == len(FAMILIES) + len(MODELS)
    for block in blocks:
        json.loads(block)
