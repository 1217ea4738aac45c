"""An evaluation service: reads a school's week as of one instant, and asks later what was revised.

Needs Python 3.11 and clickhouse-connect, and the address and password of the reader:

    export CLASSPULSE_CLICKHOUSE_URL=http://127.0.0.1:8123 CLASSPULSE_CLICKHOUSE_PASSWORD=...
    python evaluation_service.py s01 2026-03-02 > report.json           read
    python evaluation_service.py s01 2026-03-02 --since report.json     what changed since then

A report says as of which instant it was read. Reading again as of that instant gives the same report.
"""

import argparse
import json
import os
import sys
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client

#: Rows below this have too few samples to be shown to anybody.
LEAST_SAMPLES = 5


def connect() -> Client:
    """Connect as the reader; raises KeyError that names a variable that is not set."""
    url = urlsplit(os.environ["CLASSPULSE_CLICKHOUSE_URL"])
    return clickhouse_connect.get_client(
        host=url.hostname or "127.0.0.1",
        port=url.port or 8123,
        secure=url.scheme == "https",
        username=os.environ.get("CLASSPULSE_CLICKHOUSE_USER", "classpulse_reader"),
        password=os.environ["CLASSPULSE_CLICKHOUSE_PASSWORD"],
        database=os.environ.get("CLASSPULSE_CLICKHOUSE_DATABASE", "classpulse"),
    )


def rows(client: Client, sql: str, **parameters: Any) -> list[dict[str, Any]]:
    """Return the answer as a list of objects; parameters are bound by the server, never pasted into the text."""
    return list(client.query(sql, parameters=parameters).named_results())


def last_cycle(client: Client) -> str:
    """Return the instant of the evaluator's last completed cycle: what is read as of it never changes."""
    [found] = rows(client, "SELECT toString(max(cycle_at)) AS as_of FROM v1_cycles")
    return str(found["as_of"])


def school_week(client: Client, school: str, monday: date, as_of: str) -> dict[str, Any]:
    """Return metrics, scores and portraits of one school and week as they were known at ``as_of`` (UTC)."""
    asked = {"school": school, "monday": monday, "sunday": monday + timedelta(days=6), "as_of": as_of}
    figures = rows(
        client,
        """SELECT r.level AS level, r.entity_id AS entity_id, r.metric AS metric, r.item AS item, r.value AS value,
               r.sample_size AS sample_size, c.chinese AS chinese, c.unit AS unit
           FROM v1_rollups(level = 'class', school = {school:String}, as_of = {as_of:DateTime64(3, 'UTC')},
               day_from = {monday:Date}, day_to = {sunday:Date}) AS r
           LEFT JOIN v1_catalogue AS c ON c.metric = r.metric
           WHERE r.value IS NOT NULL AND r.sample_size >= {least:UInt64}
           ORDER BY entity_id, metric, item""",
        **asked,
        least=LEAST_SAMPLES,
    )
    scores = rows(
        client,
        """SELECT node, value, coverage, received_share, late_share, duplicate_share, district_dead_letter_share
           FROM v1_scores_as_of(as_of = {as_of:DateTime64(3, 'UTC')})
           WHERE kind = 'school' AND entity_id = {school:String} AND week = {monday:Date}
           ORDER BY node""",
        **asked,
    )
    portraits = rows(
        client,
        """SELECT kind, entity_id, dimension, level, z, peers, active_days_28
           FROM v1_portrait_on(school = {school:String}, as_of = {as_of:DateTime64(3, 'UTC')}, day = {sunday:Date})
           ORDER BY kind, entity_id, dimension""",
        **asked,
    )
    return {
        "school": school,
        "week": monday.isoformat(),
        "as_of": as_of,
        "scores": scores,
        "figures": figures,
        "portraits": portraits,
    }


def revised(client: Client, report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lesson metrics of the report's school and week that say something else since it was read."""
    monday = date.fromisoformat(report["week"])
    return rows(
        client,
        """SELECT class_id, key AS lesson_id, metric, item, old_value, new_value, withdrawn, revised_at
           FROM v1_revised_since(since = {as_of:DateTime64(3, 'UTC')})
           WHERE school_id = {school:String} AND window = 'lesson' AND day BETWEEN {monday:Date} AND {sunday:Date}
           ORDER BY lesson_id, metric, item""",
        school=report["school"],
        as_of=report["as_of"],
        monday=monday,
        sunday=monday + timedelta(days=6),
    )


def plain(value: object) -> str:
    """Return what JSON has no form for."""
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)


def main() -> None:
    """Print a report, or what was revised since one, as JSON."""
    parser = argparse.ArgumentParser(description="Read a school's week from classpulse")
    parser.add_argument("school")
    parser.add_argument("monday", type=date.fromisoformat, help="Monday of the week, such as 2026-03-02")
    parser.add_argument("--as-of", help="instant in UTC, such as '2026-03-10 08:00:00'; default: the last cycle")
    parser.add_argument("--since", type=argparse.FileType(encoding="utf-8"), help="a report of this program")
    given = parser.parse_args()
    client = connect()
    try:
        if given.since is not None:
            answer: Any = revised(client, json.load(given.since))
        else:
            answer = school_week(client, given.school, given.monday, given.as_of or last_cycle(client))
    finally:
        client.close()
    sys.stdout.write(json.dumps(answer, ensure_ascii=False, indent=2, default=plain) + "\n")


if __name__ == "__main__":
    main()
