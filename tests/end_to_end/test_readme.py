"""The README's own examples and those of docs/connect.md, run as they stand against the embedded stack."""

import json
import re
from pathlib import Path

import pytest

from deploy.local.commands import dev
from sinks.clickhouse.client import connect
from tests.end_to_end import pages
from tests.end_to_end.harness import AccountedRig
from tests.end_to_end.typed import ROOT, typed


@pytest.mark.timeout(600)
def test_whoever_tries_it_gets_scores(tmp_path: Path) -> None:
    """The lines under "Try it", typed as printed, lead to scores, an explanation, a report and no difference."""
    try:
        said = typed(pages.block(pages.README, "sh", "classpulse simulate"), tmp_path)
    finally:
        typed("classpulse dev down", tmp_path)
    assert "Scored in 20" in said
    assert re.search(r"2 schools, 4 classes, \d+ teachers", said)
    assert " 0 \ndifferences." in said or " 0 differences." in said
    assert re.search(r"智慧教育综合评价\D+0\.\d{3}", said)
    [report] = tmp_path.glob("report-school-s01-*.html")
    assert "综合评分" in report.read_text(encoding="utf-8")


def test_the_python_device_is_understood_and_the_query_answers(rig: AccountedRig, tmp_path: Path) -> None:
    """The device's event passes the check, is stored, and is told of; the README's query runs as the reader."""
    rig.start_worker()
    (tmp_path / ".classpulse").mkdir()
    (tmp_path / ".classpulse/dev").symlink_to(rig.folder)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    settings = pages.variables(pages.block(pages.CONNECT, "sh dev"), tmp_path)
    send, *ask = pages.block(pages.README, "sh", "classpulse received").splitlines()
    assert send.startswith(pages.block(pages.CONNECT, "sh device").strip())
    pages.shell(send, tmp_path, settings)
    rig.wait_for_checkpoints(1)
    assert rig.counters() == (1, 1, 0, 0)
    told = pages.shell("\n".join(ask), tmp_path, settings)
    assert json.loads((tmp_path / "event.json").read_text())["id"] in told
    assert "classroom.hand.raised" in told
    assert "stored" in pages.shell(pages.block(pages.CONNECT, "sh received"), tmp_path, settings)
    reader = connect(dev.target(rig.info, "classpulse_reader"))
    answer = reader.raw_query(pages.block(pages.README, "sql"), fmt="CSVWithNames").decode()
    reader.close()
    assert answer.startswith('"class_id","course","window_start","participation_breadth"')


def test_a_vendor_asks_over_http(rig: AccountedRig, tmp_path: Path) -> None:
    """curl, with the vendor's password alone, tells that the event is stored."""
    rig.start_worker()
    pages.python_device(tmp_path, dev.environment(rig.info))
    rig.wait_for_checkpoints(1)
    vendor = dev.target(rig.info, "classpulse_vendor")
    settings = dev.database_settings(vendor) | {"id": json.loads((tmp_path / "event.json").read_text())["id"]}
    assert pages.shell(pages.block(pages.CONNECT, "sh curl"), tmp_path, settings).startswith("stored\t")


def test_kcat_sends_to_the_embedded_broker(rig: AccountedRig, tmp_path: Path) -> None:
    """The page's kcat line, with a kcat that is new enough: the same event sent again is a duplicate."""
    pages.needs_kcat(pages.FOR_THE_EMBEDDED_BROKER)
    rig.start_worker()
    settings = dev.environment(rig.info)
    pages.python_device(tmp_path, settings)
    pages.shell(pages.block(pages.CONNECT, "sh kcat plain"), tmp_path, settings)
    rig.wait_for_checkpoints(2)
    assert rig.counters() == (2, 1, 1, 0)


def test_kcat_sends_to_apache_kafka_without_users(apache_installed: None, migrated: Path, tmp_path: Path) -> None:
    """The page's kcat line against `dev up --broker apache`, with any kcat."""
    pages.needs_kcat()
    rig = AccountedRig(tmp_path / "stack", migrated=migrated, broker="apache")
    try:
        rig.start_worker()
        settings = dev.environment(rig.info)
        pages.python_device(tmp_path, settings)
        pages.shell(pages.block(pages.CONNECT, "sh kcat plain"), tmp_path, settings)
        rig.wait_for_checkpoints(2)
        assert rig.counters() == (2, 1, 1, 0)
    finally:
        rig.close()
