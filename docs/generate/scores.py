"""``docs/evaluation.md``: a score and a roll-up worked out."""

from typing import Final

from docs.generate.markdown import code, table
from schemas.evaluation.config import parse
from streams.core.evaluation.scores import MetricValue, points, scores

__all__ = ["LESSONS", "METRICS", "TREE", "blocks"]

#: A configuration of one dimension, in the form of the file.
TREE: Final = """
format: 1
chinese: 示例
english: Example
about: One dimension of three indicators.
dimensions:
  - id: teaching
    chinese: 智慧教
    english: Teaching
    weight: 1
    indicators:
      - {id: response, metric: response_rate, weight: 2, norm: {kind: linear, zero: 0.1, one: 0.8}}
      - {id: breadth, metric: participation_breadth, weight: 1, norm: {kind: share}}
      - {id: attendance, metric: attendance_rate, weight: 1, norm: {kind: linear, zero: 0.7, one: 1}}
"""
#: Attendance was not taken in the week.
METRICS: Final = {"response_rate": 0.45, "participation_breadth": 0.9, "attendance_rate": None}
#: Numerator and denominator of a metric that merges as a ratio, of two lessons.
LESSONS: Final = ((12, 40), (9, 10))


def blocks() -> dict[str, str]:
    """Return the blocks of the page by name."""
    nodes = parse(TREE).nodes("school")
    known = {(metric, ""): MetricValue(value, 40) for metric, value in METRICS.items()}
    scored = {score.node: score for score in scores(nodes, known)}
    rows = []
    for node in nodes:
        if node.indicator is not None:
            value = METRICS[node.indicator.metric]
            told = ["NULL", "–"] if value is None else [f"{value}", f"{points(node.indicator.norm, value):.4f}"]
            rows.append([code(node.indicator.metric), *told, node.indicator.norm.words, f"{node.share}"])
    whole = scored["teaching"]
    over = ", ".join(f"{numerator} / {denominator}" for numerator, denominator in LESSONS)
    merged = sum(one for one, _ in LESSONS) / sum(of for _, of in LESSONS)
    return {
        "score-example": f"{table(['metric', 'value', 'points', 'norm', 'w'], rows)}\n\n"
        f"Score **{whole.value:.4f}** = (0.5 x 0.5 + 0.25 x 0.9) / 0.75, coverage {whole.coverage} = 0.75 / 1.",
        "roll-up-example": f"Lessons with {over} are merged to {sum(one for one, _ in LESSONS)} / "
        f"{sum(of for _, of in LESSONS)} = **{merged:.4f}**; the mean of their values would say "
        f"{sum(one / of for one, of in LESSONS) / len(LESSONS):.4f}.",
    }
