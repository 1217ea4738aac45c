"""The page of the benchmarks says what the results say."""

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.lab.bench.catalogue import PEERS
from tests.lab.bench.page import main, written


def result() -> dict[str, Any]:
    """What `classpulse bench --json` prints, as far as the page shows it."""

    def rounds(*rates: float) -> list[dict[str, float]]:
        return [{"events_per_second": rate, "events": 1_000} for rate in rates]

    return {
        "broker": "apache",
        "mix": "plain",
        "events": 1_000,
        "bytes_per_event": 330.4,
        "measured_at": "2026-11-23T20:00:00Z",
        "machine": {"cores": 2, "cpu": "Some <CPU> & more", "memory_gib": 23.5, "kernel": "Linux 6.18", "load_before": 0.4},
        "versions": {"python": "3.11.7", "broker": "Apache Kafka 4.2.1"},
        "ceiling_events_per_second": 200_000,
        "classpulse_events_per_second": 110_000,
        "ratio_to_ceiling": 0.55,
        "ceiling_cpu_us_per_event": 3.5,
        "worker_cpu_us_per_event": 11.25,
        "clickhouse_cpu_us_per_event": 5.0,
        "startup_seconds": 4.2,
        "worker_peak_memory_bytes": 600 * 2**20,
        "laws_hold": True,
        "verify_differences": 0,
        "peers": {"faust": {"events_per_second": 1_000, "ratio": 110, "cpu_us_per_event": None}},
        "not_measured": {"bytewax": "install\nit"},
        "rounds": {
            "ceiling": rounds(190_000, 200_000, 210_000),
            "classpulse": rounds(100_000, 110_000, 111_000),
            "faust": rounds(900, 1_000, 1_100),
        },
    }


@pytest.fixture
def folder(docs: Path, tmp_path: Path) -> Path:
    """A folder of pages with one result."""
    shutil.copy(docs / "benchmarks.md", tmp_path)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "apache-plain.json").write_text(json.dumps(result()), encoding="utf-8")
    assert main(["--docs", str(tmp_path)]) == 0
    return tmp_path


def test_the_page_and_its_charts_are_what_the_results_say(docs: Path) -> None:
    """Neither the page nor a chart differs from the results; `make docs` mends one that does."""
    files = written(docs)
    assert [path.name for path, text in files.items() if path.read_text(encoding="utf-8") != text] == []
    assert set((docs / "benchmarks").glob("*.svg")) == files.keys() - {docs / "benchmarks.md"}


def test_a_result_is_on_the_page(folder: Path) -> None:
    """Medians, ranges, ratios, the machine, and what was not measured."""
    page = (folder / "benchmarks.md").read_text(encoding="utf-8")
    for expected in (
        "| faust | 1,000 | 900 to 1,100 | 110 × it |",
        "| **classpulse** | 110,000 | 100,000 to 111,000 |",
        "0.55 of it",
        "2 cores of Some <CPU> & more",
        "`bytewax` was not measured: install it",
        "benchmarks/apache-plain.svg",
    ):
        assert expected in page


def test_the_page_says_what_every_peer_leaves_out(folder: Path) -> None:
    """No peer is shown without what it does not do."""
    page = (folder / "benchmarks.md").read_text(encoding="utf-8")
    for peer in PEERS.values():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{peer.name}`"))
        assert row.count("does not ") == len(peer.lacks) >= 3


def test_the_chart_is_sound_and_fits(folder: Path) -> None:
    """It is XML, names everything that was measured, and no bar or label leaves it."""
    root = ET.parse(folder / "benchmarks" / "apache-plain.svg").getroot()
    shown = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert shown == ["ceiling: aiokafka alone", "200,000", "classpulse", "110,000", "faust", "1,000"]
    bars = [float(bar.attrib["x"]) + float(bar.attrib["width"]) for bar in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert bars == sorted(bars, reverse=True)
    assert bars[0] < float(root.attrib["width"]) - 60


def test_check_finds_what_is_stale(folder: Path) -> None:
    """Another result without another page, or a chart that is gone, fails the check, which writes nothing."""
    assert main(["--docs", str(folder), "--check"]) == 0
    other = result() | {"classpulse_events_per_second": 50_000}
    (folder / "benchmarks" / "apache-plain.json").write_text(json.dumps(other), encoding="utf-8")
    assert main(["--docs", str(folder), "--check"]) == 1
    assert "50,000" not in (folder / "benchmarks.md").read_text(encoding="utf-8")
    assert main(["--docs", str(folder)]) == 0
    (folder / "benchmarks" / "apache-plain.svg").unlink()
    assert main(["--docs", str(folder), "--check"]) == 1
