"""Prometheus' rules and Grafana's dashboard ask for metrics that the worker has."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from prometheus_client import generate_latest

from streams.evaluation.evaluator import EvaluatorTelemetry
from streams.kafka import topics
from streams.pipeline.telemetry import Moment, Telemetry
from streams.settings import Settings

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy/prometheus"
CONFIG = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
RULES = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/classpulse.json").read_text(encoding="utf-8"))
DATASOURCES = yaml.safe_load(
    (ROOT / "deploy/grafana/provisioning/datasources/classpulse.yaml").read_text(encoding="utf-8")
)["datasources"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [target for panel in PANELS for target in panel["targets"]]
QUERIES = [target["expr"] for target in TARGETS if "expr" in target]
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
#: What Prometheus adds to every series, and what a histogram's buckets carry.
ADDED_LABELS = {"instance", "job", "le"}


def exposed() -> dict[str, set[str]]:
    """Return every series the worker exposes, with its labels."""
    telemetries: list[Telemetry | EvaluatorTelemetry] = [Telemetry(), EvaluatorTelemetry()]
    for collector in [collector for telemetry in telemetries for collector in vars(telemetry).values()]:
        if isinstance(collector, Moment):
            collector.set_to_current_time()
    labels = {
        collector._name: set(collector._labelnames)
        for telemetry in telemetries
        for collector in vars(telemetry).values()
        if hasattr(collector, "_labelnames")
    }
    return {
        family.name + suffix: labels[family.name]
        for telemetry in telemetries
        for family in telemetry.registry.collect()
        for suffix in SUFFIXES[family.type]
    }


def metrics_in(expression: str) -> set[str]:
    """Return the product's metrics that an expression asks for."""
    # A label's value, such as the topic "classpulse.prep", is not a metric.
    return set(re.findall(r"\bclasspulse_\w+", re.sub(r'"[^"]*"', '""', expression)))


def labels_in(expression: str) -> set[str]:
    """Return the labels that an expression groups, joins or selects by."""
    lists = re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expression)
    selected = re.findall(r"(\w+)\s*[!=]~?\s*\"", expression)
    return {name.strip() for names in lists for name in names.split(",")} | set(selected)


@pytest.mark.parametrize("expression", [*(rule["expr"] for rule in RULES), *QUERIES])
def test_expressions_ask_for_metrics_and_labels_that_exist(expression: str) -> None:
    """A misspelt metric or label gives no data and no error, so an alert would never fire."""
    series = exposed()
    used = metrics_in(expression)
    assert used <= set(series)
    known = ADDED_LABELS.union(*(series[name] for name in used))
    assert labels_in(expression) <= known


def test_every_metric_is_looked_at() -> None:
    """What the worker and the evaluator measure shows in an alert or on the dashboard."""
    looked_at = set().union(*(metrics_in(expression) for expression in [*(rule["expr"] for rule in RULES), *QUERIES]))
    unseen = {
        family.name
        for telemetry in (Telemetry(), EvaluatorTelemetry())
        for family in telemetry.registry.collect()
        if not any(family.name + suffix in looked_at for suffix in SUFFIXES[family.type])
    }
    assert unseen == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """An alert has a summary, a remedy and a severity that people can sort by."""
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["remedy"]
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_the_dangers_are_covered() -> None:
    """Nothing that stops or delays metrics goes unreported."""
    assert {rule["alert"].removeprefix("Classpulse") for rule in RULES} >= {
        "NoWorker",
        "WorkerDown",
        "NoProgress",
        "LagRecords",
        "LagSeconds",
        "WatermarkDelay",
        "ClickHouseRetries",
        "DeadLetterRate",
        "DeadLetterShare",
        "OffsetHoles",
        "NewEpoch",
        "CommitFailures",
        "SlowToQueryable",
        "TopicMissing",
        "OpenTransaction",
    }


def test_the_alert_on_unread_partitions_counts_the_declared_ones() -> None:
    """The number in the rule is that of the event topics' partitions."""
    count = sum(topic.partitions for topic in topics.declared() if topic.name != topics.DEAD_LETTER_TOPIC)
    (rule,) = (rule for rule in RULES if rule["alert"] == "ClasspulsePartitionsWithoutWorker")
    assert rule["expr"] == f"sum(classpulse_assigned_partitions) < {count}"


def test_prometheus_finds_what_compose_starts() -> None:
    """The scraped names are services of docker-compose.yml, on the ports they listen on."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    jobs = {job["job_name"]: job for job in CONFIG["scrape_configs"]}
    found = jobs["classpulse-worker"]["dns_sd_configs"][0]
    assert found["names"] == ["worker"]
    assert str(found["port"]) == services["worker"]["environment"]["CLASSPULSE_WEB_PORT"]
    assert found["port"] == Settings.model_fields["web_port"].default
    server = ET.parse(ROOT / "deploy/clickhouse/server.xml").getroot()
    assert jobs["clickhouse"]["static_configs"][0]["targets"] == [f"clickhouse:{server.findtext('prometheus/port')}"]
    assert set(services["prometheus"]["networks"]) <= set(services["worker"]["networks"])


def test_the_dashboard_has_its_four_questions_in_order() -> None:
    """A reader goes from health to flow to time to metrics."""
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Is it healthy?", "What flows?", "Where does the time go?", "Figures"]


def test_panels_are_distinct_and_do_not_overlap() -> None:
    """Each panel has a number, a title, an explanation and a place of its own."""
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert all(panel["title"] and panel["description"] for panel in PANELS)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _y in cells) < 24


def test_panels_use_provisioned_data_sources() -> None:
    """Every panel and every query names a data source that Grafana is given."""
    provisioned = {(source["type"], source["uid"]) for source in DATASOURCES}
    used = {(part["datasource"]["type"], part["datasource"]["uid"]) for part in [*PANELS, *TARGETS]}
    assert used == provisioned


def test_the_password_of_grafana_is_the_readers_file() -> None:
    """Grafana asks ClickHouse as the user that may only read, with the password of its secret."""
    (source,) = (source for source in DATASOURCES if source["uid"] == "clickhouse")
    assert source["jsonData"]["username"] == "classpulse_reader"
    assert source["secureJsonData"] == {"password": "$__file{/run/secrets/clickhouse_reader_password}"}


def test_a_moment_is_not_shown_before_it_has_come() -> None:
    """A worker or evaluator that has done nothing shows no time of 1970, which an alert would take for 20,000 days ago."""
    for telemetry in (Telemetry(), EvaluatorTelemetry()):
        assert b"timestamp_seconds 0" not in generate_latest(telemetry.registry)
        moments = [collector for collector in vars(telemetry).values() if isinstance(collector, Moment)]
        assert moments
        for moment in moments:
            moment.set(1_700_000_000)
        assert generate_latest(telemetry.registry).count(b"timestamp_seconds 1.7e+09") == len(moments)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed here")
def test_the_rules_fire_when_they_should() -> None:
    """Prometheus' own tool plays the series of rules_test.yml and finds the alerts expected there."""
    played = subprocess.run(
        ["promtool", "test", "rules", PROMETHEUS / "rules_test.yml"], check=False, capture_output=True, text=True
    )
    assert played.returncode == 0, played.stdout + played.stderr
