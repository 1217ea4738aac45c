"""``docs/metrics.md``: every metric and every window. Made from ``schemas/metrics``."""

from typing import Final

from docs.generate import worked
from docs.generate.markdown import code, table
from schemas.events.event_types import FAMILIES
from schemas.metrics import classroom, prep, research
from schemas.metrics.catalogue import CATALOGUE_VERSION, METRICS
from schemas.metrics.metric import DAY_US, SECOND_US, WINDOWS, Metric

__all__ = ["blocks", "section"]

_DIRECTIONS: Final = {
    "higher": "higher is better",
    "lower": "lower is better",
    "context": "neither high nor low is good by itself",
}
_MERGES: Final = {
    "ratio": "sum of the numerators / sum of the denominators",
    "values": "exact quantile of the joined parts",
    "sketch": "quantile of the summed sketches in the parts: relative error 1 %",
    "gini": "from the sums of each person",
    "blend": "blended again from the merged metrics",
}
_ABOUT: Final = {
    "classroom": classroom.__doc__,
    "prep": prep.__doc__,
    "research": research.__doc__,
}


def blocks() -> dict[str, str]:
    """Return the blocks of ``docs/metrics.md`` by name."""
    families = {family.name: family for family in FAMILIES}
    described = {
        f"family-{name}": "\n\n".join([_shared(about), *(section(metric) for metric in METRICS if metric.family == name)])
        for name, about in _ABOUT.items()
    }
    overview = [
        [
            str(metric.number),
            f"[{code(metric.name)}](#{metric.name})",
            f"{metric.chinese} {metric.english}",
            f"{metric.family} {families[metric.family].chinese}",
            metric.unit,
            ", ".join(code(window.name) for window in metric.windows),
        ]
        for metric in METRICS
    ]
    return {
        "version": f"The catalogue is at version {CATALOGUE_VERSION}.",
        "metrics": table(["no.", "metric", "中文", "family", "unit", "windows"], overview),
        "windows": _windows(),
        **described,
    }


def _windows() -> str:
    rows = [
        [
            code(window.name),
            window.meaning,
            _seconds(window.size_us),
            _seconds(window.hop_us),
            ", ".join(code(metric.name) for metric in METRICS if window in metric.windows),
        ]
        for window in WINDOWS
    ]
    return table(["window", "meaning", "length (s)", "hop (s)", "metrics"], rows)


def _seconds(duration_us: int) -> str:
    return f"{duration_us // SECOND_US:,}" if duration_us else "–"


def section(metric: Metric) -> str:
    """Return the section of one metric."""
    rows = [
        ["number in the district's catalogue", str(metric.number)],
        ["numerator", metric.numerator],
        ["denominator", metric.denominator],
        ["unit", metric.unit],
        ["range", "from 0" if metric.highest is None else f"0 to {metric.highest:,g}"],
        ["windows", ", ".join(code(window.name) for window in metric.windows)],
        *([["item", metric.item]] if metric.item else []),
        *([["parts", metric.parts]] if metric.parts else []),
        ["sample size", metric.sample],
        ["closes", _closing(metric)],
        ["a row exists", metric.exists],
        ["direction", _DIRECTIONS[metric.direction]],
        ["events used", ", ".join(code(f"{metric.family}.{name}") for name in metric.events)],
        ["merged", _MERGES[metric.merge]],
        ["example", f"{worked.example(metric)} ([worked-example.md]({worked.PAGE}))"],
        ["source", metric.source],
        ["declared in", code(f"schemas/metrics/{metric.path}.py")],
        ["computed in", code(f"streams/core/{metric.path}.py")],
        ["recomputed in", code(f"sinks/sql/verify/{metric.path}.sql")],
    ]
    return f"### {metric.name}\n\n{metric.chinese}, {metric.english}\n\n{table(['', ''], rows)}"


def _closing(metric: Metric) -> str:
    if not metric.evidence_us:
        return "at `window_end`"
    return f"{metric.evidence_us / DAY_US:g} days after `window_end`: until then on-time events may change it"


def _shared(about: str | None) -> str:
    """Return what a family's metrics have in common: the docstring of its package without its first line."""
    return (about or "").split("\n", 1)[1].strip().replace("``", "`")
