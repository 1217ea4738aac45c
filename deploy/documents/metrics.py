"""``docs/metrics.md``: every figure and every window. Made from ``schemas/figures.py``."""

from typing import Final

from deploy.documents.markdown import code, table
from schemas import figures
from schemas.event_types import FAMILIES
from schemas.figures import METRICS, Metric, Window

__all__ = ["blocks"]

_DIRECTIONS: Final = {
    "higher": "higher is better",
    "lower": "lower is better",
    "context": "neither high nor low is good by itself",
}


def blocks() -> dict[str, str]:
    """Return the blocks of ``docs/metrics.md`` by name."""
    families = {family.name: family for family in FAMILIES}
    described = {
        f"family-{name}": "\n\n".join(_figure(metric) for metric in METRICS if metric.family == name)
        for name in dict.fromkeys(metric.family for metric in METRICS)
    }
    overview = [
        [
            str(metric.number),
            f"[{code(metric.name)}](#{metric.name})",
            metric.chinese,
            f"{metric.family} {families[metric.family].chinese}",
            metric.unit,
            ", ".join(code(window.name) for window in metric.windows),
        ]
        for metric in METRICS
    ]
    return {
        "version": f"The catalogue is at version {figures.CATALOGUE_VERSION}.",
        "figures": table(["no.", "figure", "中文", "family", "unit", "windows"], overview),
        "windows": _windows(),
        **described,
    }


def _windows() -> str:
    declared = [content for content in vars(figures).values() if isinstance(content, Window)]
    rows = [
        [
            code(window.name),
            window.meaning,
            _seconds(window.size_us),
            _seconds(window.hop_us),
            ", ".join(code(metric.name) for metric in METRICS if window in metric.windows),
        ]
        for window in declared
    ]
    return table(["window", "meaning", "length (s)", "hop (s)", "figures"], rows)


def _seconds(duration_us: int) -> str:
    return f"{duration_us // figures.SECOND_US:,}" if duration_us else "–"


def _figure(metric: Metric) -> str:
    rows = [
        ["number in the district's catalogue", str(metric.number)],
        ["numerator", metric.numerator],
        ["denominator", metric.denominator],
        ["unit", metric.unit],
        ["windows", ", ".join(code(window.name) for window in metric.windows)],
        ["sample size", metric.sample],
        ["a row exists", metric.exists],
        ["direction", _DIRECTIONS[metric.direction]],
        ["events used", ", ".join(code(f"{metric.family}.{name}") for name in metric.events)],
        ["source", metric.source],
    ]
    return f"### {metric.name}\n\n{metric.chinese}\n\n{table(['', ''], rows)}"
