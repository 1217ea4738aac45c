"""Features for a model: what was known at an instant and nothing else, with a card, and a model trained on them."""

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from clickhouse_connect.driver.client import Client

from schemas.errors import ClasspulseError
from schemas.metrics.catalogue import CATALOGUE_VERSION
from sinks.clickhouse.client import Target
from streams.cli.program import cli
from streams.evaluation.features import labelled, last_complete_week, of_weeks
from tests.oracle.database import open_client

ZONE = "Asia/Shanghai"
FIRST = date(2026, 9, 7)
WEEKS = [FIRST + timedelta(weeks=number) for number in range(8)]
CLASSES = [f"s01-c{number:02}" for number in range(12)]
COLUMNS = ["family", "school_id", "class_id", "teacher_id", "grade", "day", "window", "key", "metric", "item"]
COLUMNS += ["numerator", "denominator", "value", "sample_size", "parts", "live", "recorded_at", "row_id", "replaces"]
COLUMNS += ["catalogue_version"]


def known(monday: date) -> datetime:
    """Return when the metrics of a week are recorded: on the Monday after it, at noon."""
    return datetime(monday.year, monday.month, monday.day, 4, tzinfo=UTC) + timedelta(weeks=1)


class Panes:
    """Closed metrics of a school, numbered."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.rows: list[list[Any]] = []

    def add(self, class_id: str, monday: date, metric: str, value: float | None, **other: Any) -> int:
        """Add the metric of a lesson of the week's Wednesday, and return the number of its row."""
        of = 0.0 if value is None else 40.0
        row = {
            "family": "classroom",
            "school_id": "s01",
            "class_id": class_id,
            "teacher_id": "t1",
            "grade": 5,
            "day": monday + timedelta(days=2),
            "window": "lesson",
            "key": f"lesson-{class_id}-{monday}-{other.pop('lesson', 1)}",
            "metric": metric,
            "item": "",
            "numerator": (value or 0.0) * of,
            "denominator": of,
            "value": value,
            "sample_size": int(of),
            "parts": [],
            "live": True,
            "recorded_at": known(monday),
            "row_id": len(self.rows) + 1,
            "replaces": [],
            "catalogue_version": CATALOGUE_VERSION,
        } | other
        self.rows.append([row[name] for name in COLUMNS])
        return len(self.rows)

    def store(self) -> None:
        """Insert what was added."""
        self.client.insert("pane_versions", self.rows, column_names=COLUMNS)


@pytest.fixture(scope="module")
def client(module_database: Target) -> Iterator[Client]:
    """Eight weeks of twelve classes, of which one was corrected later and one has a lesson without any question."""
    client = open_client(module_database)
    panes, drawn = Panes(client), random.Random(7)
    for class_id in CLASSES:
        attendance = drawn.uniform(0.6, 0.95)
        for monday in WEEKS:
            panes.add(class_id, monday, "tool_share", 0.3)
            panes.add(class_id, monday, "attendance_rate", attendance)
            # What a class answers depends on who attended the week before, not on what it answered then.
            panes.add(class_id, monday, "correct_rate", min(1.0, attendance * drawn.uniform(0.8, 1.05)))
    panes.add(CLASSES[0], FIRST, "tool_share", 0.1, lesson=2)
    panes.add(CLASSES[0], FIRST, "response_rate", 0.5)
    panes.add(CLASSES[0], FIRST, "response_rate", None, lesson=2)
    wrong = panes.add(CLASSES[1], FIRST, "response_rate", 0.9)
    panes.add(CLASSES[1], FIRST, "response_rate", 0.1, recorded_at=known(FIRST) + timedelta(days=10), replaces=[wrong])
    panes.store()
    yield client
    client.close()


def value(client: Client, class_id: str, metric: str, at: datetime) -> Any:
    """Return a feature of the first week as it was known then."""
    rows = of_weeks(client, "class", FIRST, FIRST, at).rows.filter(entity_id=class_id)
    return rows[metric][0] if metric in rows.columns and rows.height else None


def test_nothing_known_later_is_among_the_features(client: Client) -> None:
    """Before a week is recorded there is nothing; a correction shows from the instant on at which it was recorded."""
    second = timedelta(seconds=1)
    assert value(client, CLASSES[1], "response_rate", known(FIRST) - second) is None
    assert value(client, CLASSES[1], "response_rate", known(FIRST)) == 0.9
    assert value(client, CLASSES[1], "response_rate", known(FIRST) + timedelta(days=10) - second) == 0.9
    assert value(client, CLASSES[1], "response_rate", known(FIRST) + timedelta(days=10)) == pytest.approx(0.1)


def test_coverage_says_in_how_many_lessons_a_metric_was_measured(client: Client) -> None:
    """Of two lessons one had questions: the response rate covers half of them, the tools all, correct answers half."""
    row = of_weeks(client, "class", FIRST, FIRST, known(FIRST)).rows.row(
        by_predicate=pl.col("entity_id") == CLASSES[0], named=True
    )
    covered = [row[f"{metric}__coverage"] for metric in ("response_rate", "tool_share", "correct_rate")]
    assert covered == [0.5, 1.0, 0.5]
    assert (row["response_rate"], row["response_rate__sample"]) == (0.5, 40)


def test_each_label_gets_what_was_known_when_it_was(client: Client) -> None:
    """The features of a label are those of the last week that was over, read as of the label's own instant."""
    moments = [known(monday) + timedelta(hours=hours) for monday in WEEKS[:3] for hours in (-5, 0, 240)]
    labels = pl.DataFrame(
        {
            "entity_id": [CLASSES[1]] * len(moments) + ["nobody"],
            "known_at": [*moments, moments[0]],
            "label": range(len(moments) + 1),
        }
    )
    table = labelled(client, "class", labels, ZONE)
    assert table.rows["label"].to_list() == list(range(len(moments) + 1))
    for at, row in zip(moments, table.rows.to_dicts(), strict=False):
        week = last_complete_week(at, ZONE)
        assert row["week"] in (None, week)
        alone = of_weeks(client, "class", week, week, at).rows.filter(entity_id=CLASSES[1]).to_dicts()
        assert {name: row[name] for name in alone[0]} == alone[0] if alone else row["week"] is None
    assert table.rows.row(-1, named=True)["correct_rate"] is None


def run(module_database: Target, *arguments: str) -> tuple[int, str]:
    """Run ``classpulse features``; return the exit status and what a person reads."""
    named = {"USER": module_database.user, "PASSWORD": module_database.password}
    environment = {f"CLASSPULSE_CLICKHOUSE_{name}": text for name, text in named.items()}
    places = ["--url", module_database.url, "--database", module_database.database]
    done = CliRunner(env=environment).invoke(cli, ["features", *arguments, *places])
    return (2, str(done.exception)) if isinstance(done.exception, ClasspulseError) else (done.exit_code, done.output)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(("ending", "read"), [("parquet", pl.read_parquet), ("arrow", pl.read_ipc)])
def test_the_file_has_a_card(module_database: Target, tmp_path: Path, ending: str, read: Any) -> None:
    """Both formats hold the same rows; the card knows the file, and says what every column means and can be."""
    out = tmp_path / f"classes.{ending}"
    status, told = run(module_database, "class", "--from", "2026-W37", "--to", "2026-W44", "--out", str(out))
    assert (status, told.partition(";")[0]) == (0, f"{out}: 96 rows of 4 metrics")
    rows, card = read(out), json.loads(Path(f"{out}.card.json").read_text(encoding="utf-8"))
    assert rows.height == card["rows"] == len(CLASSES) * len(WEEKS)
    assert card["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert (card["catalogue_versions"], card["weeks"][0]) == ([CATALOGUE_VERSION], "2026-09-07")
    assert out.stat().st_mode & 0o777 == 0o600
    for column in card["columns"]:
        assert column["unit"]
        assert column["lowest"] <= column["smallest"] <= column["largest"] <= column["highest"]
        assert rows[column["column"]].null_count() == column["missing"]


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.csv"], "neither in .parquet nor in .arrow"),
        (["--from", "2026-W44", "--to", "2026-W37", "--out", "x.arrow"], "2026-W44 is after 2026-W37"),
        (["--to", "2026-W44", "--as-of", "2026-10-30", "--out", "x.arrow"], "2026-W44 was not over"),
        (["--from", "2020-W01", "--to", "2020-W02", "--out", "x.arrow"], "There is nothing to write"),
    ],
)
def test_what_cannot_be_written_is_said(module_database: Target, arguments: list[str], message: str) -> None:
    """An unknown format, weeks in the wrong order, a week that was not over, and weeks without a metric end with 2."""
    status, told = run(module_database, "class", *arguments)
    assert status == 2
    assert message in told


@pytest.mark.usefixtures("client")
def test_labels_come_from_a_file(module_database: Target, tmp_path: Path) -> None:
    """A file of labels gets its features; one without an instant's zone, or without a column, is named as unusable."""
    labels, out = tmp_path / "labels.csv", tmp_path / "labelled.parquet"
    labels.write_text("entity_id,known_at,grade_of_inspector\ns01-c01,2026-09-16T18:00:00+08:00,B\n", encoding="utf-8")
    status, told = run(module_database, "class", "--labels", str(labels), "--out", str(out))
    assert status == 0, told
    assert pl.read_parquet(out).select("entity_id", "grade_of_inspector", "response_rate").rows() == [("s01-c01", "B", 0.9)]
    for text in ("entity_id,known_at\nx,2026-09-16T18:00:00\n", "entity_id,at\nx,y\n", "entity_id,known_at\n"):
        labels.write_text(text, encoding="utf-8")
        status, told = run(module_database, "class", "--labels", str(labels), "--out", str(out))
        assert status == 2, text
        assert str(labels) in told


@pytest.mark.usefixtures("client")
def test_the_example_trains_and_scores_a_model(module_database: Target, tmp_path: Path) -> None:
    """On classes that differ by who attends, the model of the example is less far off than the guess of no change."""
    out = tmp_path / "classes.parquet"
    assert run(module_database, "class", "--from", "2026-W37", "--to", "2026-W44", "--out", str(out))[0] == 0
    command = [sys.executable, str(Path(__file__).parents[3] / "docs/examples/train.py"), str(out), "correct_rate"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["trained_on_rows"], told["scored_on_rows"]) == (60, 24)
    assert 0 < told["mean_absolute_error"] < told["mean_absolute_error_of_no_change"] < 0.5
