"""Hold what the evaluator made against what it was made from: versions of metrics, then portraits.

Run it while no evaluator is in the middle of a cycle: what a cycle has begun and not ended shows as a difference.
"""

from clickhouse_connect.driver.client import Client

from sinks.verify.findings import Difference, OnProgress, Progress, Scalar, VerifyReport
from sinks.verify.portraits import verify_portraits
from sinks.verify.verify import verify_sql

__all__ = ["verify_evaluator"]

_VERSION_COLUMNS = ("metric", "window", "key", "item", "class_id", "day")


def verify_evaluator(client: Client, report: VerifyReport, on_progress: OnProgress | None = None) -> None:
    """Add to ``report`` every version of a metric and every portrait that is not what it should be; reads only.

    Raises clickhouse-connect's ``ClickHouseError`` when the database cannot be reached or lacks a table.
    """
    sql = "SELECT DISTINCT toString(school_id) FROM pane_versions ORDER BY 1"
    schools = [name for (name,) in client.query(sql).result_rows]
    for done, school in enumerate(schools, start=1):
        _verify_versions(client, school, report)
        if on_progress is not None:
            on_progress(Progress("versions", done, len(schools), report.rows_expected, report.differences_total))
    portraits = verify_portraits(client, limit=max(1, report.room))
    report.rows_expected += portraits.rows
    report.rows_stored += portraits.rows
    report.add(portraits.differences, portraits.differences_total)


def _verify_versions(client: Client, school: str, report: VerifyReport) -> None:
    versions, differing, listed = client.query(
        verify_sql("panes"), parameters={"school": school, "limit": report.room}
    ).result_rows[0]
    report.rows_expected += versions
    report.rows_stored += versions
    for kind, *row, current, version in listed:
        key: dict[str, Scalar] = {"table": "pane_versions", "school_id": school}
        key |= zip(_VERSION_COLUMNS, map(str, row), strict=True)
        expected: dict[str, Scalar] | None = None if kind == "unexpected" else {"current": current}
        report.add([Difference(kind, key, (), expected, {"version": version})], 0)
    report.add([], differing)
