"""``docs/operations.md``: every Prometheus metric, and what to do about ClickHouse's rejections. Made from the code."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from docs.generate.markdown import code, table
from sinks.clickhouse.errors import REMEDIES
from streams.evaluation.evaluator import EvaluatorTelemetry
from streams.pipeline.telemetry import Telemetry

__all__ = ["blocks", "exposed_names"]

_KINDS: Final = {"counter": "counter", "gauge": "gauge", "histogram": "histogram"}


def blocks() -> dict[str, str]:
    """Return the blocks of ``docs/operations.md`` by name."""
    rows = [
        [code(name), kind, ", ".join(code(label) for label in labels), meaning]
        for name, kind, labels, meaning in _metrics()
    ]
    remedies = [[str(number), remedy] for number, remedy in sorted(REMEDIES.items())]
    return {
        "prometheus": table(["metric", "kind", "labels", "meaning"], rows),
        "remedies": table(["ClickHouse's code", "what the message says to do"], remedies),
    }


def exposed_names() -> set[str]:
    """Return the name of every metric, as ``/metrics`` shows it."""
    return {name for name, *_ in _metrics()}


def _metrics() -> list[tuple[str, str, tuple[str, ...], str]]:
    found = []
    for collector in [*vars(Telemetry()).values(), *vars(EvaluatorTelemetry()).values()]:
        if isinstance(collector, (Counter, Gauge, Histogram)):
            metric = next(iter(collector.describe()))
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            labels = collector._labelnames  # noqa: SLF001 - the library tells label names in no other way
            found.append((name, _KINDS[metric.type], labels, metric.documentation))
    return found
