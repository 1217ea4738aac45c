"""How an explanation looks on a terminal."""

from collections.abc import Iterator
from typing import Final

from rich.table import Table

from schemas.evaluation.tree import LOWEST_COVERAGE
from streams.evaluation.explain import Explanation, Part
from streams.evaluation.weeks import iso_week
from streams.output.numbers import fixed, significant
from streams.output.terminal import Console, plain

__all__ = ["PERSONAL", "QUERIES_HINT", "show"]

PERSONAL: Final = (
    "A teacher's score is personal data (教师个人信息): it is for the teacher and for those whom the district has named;"
    " see docs/evaluation.md."
)
QUERIES_HINT: Final = "Add --queries for the SQL that returns the events behind each indicator (查询原始事件)."
#: Outside a terminal nothing folds long lines.
_PLAIN_WIDTH: Final = 150
_NORM_WIDTH: Final = 24
_KINDS: Final = {"teacher": "教师", "class": "班级", "school": "学校", "group": "教育集团", "district": "区"}


def show(found: Explanation, console: Console, *, queries: bool, below: str = "") -> None:
    """Print the tree, the quality, and the queries or how to get them; ``below``: only this node and what is below it."""
    if not console.is_terminal:
        console.width = max(console.width, _PLAIN_WIDTH)
    parts = [part for part in found.parts if part.node == below or not below or part.node.startswith(f"{below}/")]
    _line(console, _title(found))
    _line(
        console,
        f"configuration 方案 {found.config_version} · metrics as of {found.read_as_of:%Y-%m-%d %H:%M:%S} UTC · recorded"
        f" {found.recorded_at:%Y-%m-%d %H:%M:%S} UTC",
    )
    console.print(_tree(parts))
    for line in _quality(found):
        _line(console, line)
    if queries:
        for part in parts:
            if part.query:
                _line(console, f"\n-- {part.node}  {part.chinese} {part.english}: the events behind it\n{part.query};")
    else:
        _line(console, QUERIES_HINT)


def _line(console: Console, text: str) -> None:
    # A query must come out as it is, to be copied.
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _title(found: Explanation) -> str:
    names = [_KINDS[found.kind], found.kind, *([found.entity_id] if found.kind != "district" else []), found.name]
    return f"{' '.join(filter(None, names))} · {iso_week(found.week)}"


def _tree(parts: list[Part]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("评价 evaluation", no_wrap=True)
    for heading in ("score 得分", "weight 权重", "coverage 覆盖", "metric 指标值", "sample 样本"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("norm 标准", overflow="fold", min_width=_NORM_WIDTH)
    least = min((part.depth for part in parts), default=0)
    for part in parts:
        style = "" if part.metric else "bold"
        table.add_row(
            plain("  " * (part.depth - least) + f"{part.chinese} {part.english}", style=style),
            plain(_score(part), style=style),
            f"{part.weight:.1%}",
            f"{part.coverage:.0%}",
            _metric(part),
            f"{part.sample_size:,}" if part.sample_size else "–",
            plain(_norm(part), style="dim"),
        )
    return table


def _score(part: Part) -> str:
    if part.value is not None:
        return fixed(part.value, 3)
    if not part.metric:
        return f"below {LOWEST_COVERAGE:.0%}"
    return "no value" if part.figure is None else "small sample"


def _metric(part: Part) -> str:
    if not part.metric:
        return ""
    return "–" if part.figure is None else _number(part.figure)


def _number(value: float) -> str:
    return fixed(value, 0) if abs(value) >= 1000 else significant(value, 4)


def _norm(part: Part) -> str:
    """Say how the metric earns points, and in which unit."""
    unit = "" if not part.metric or part.unit in {"share", "ratio", "0 to 1"} else f" ({part.unit})"
    return part.norm + unit + (f"; from a sample of {part.min_sample} on" if part.min_sample else "")


def _quality(found: Explanation) -> Iterator[str]:
    counts = found.quality
    if not counts:
        yield "data quality 数据质量: not counted yet"
        return
    whose = f"school {found.school_id}" if found.kind in {"teacher", "class"} else f"this {found.kind}"
    yield f"data quality 数据质量 of {whose}:"
    yield (
        f"  received 到达 {_share(counts['received_share'])} ({counts['sequences_received']:,} of"
        f" {counts['sequences_expected']:,} sequence numbers of {counts['sources']:,} devices)"
    )
    yield f"  late 迟到 {_share(counts['late_share'])} ({counts['late_events']:,} of {counts['events']:,} events)"
    yield f"  duplicates 重复 {_share(counts['duplicate_share'])} ({counts['duplicates']:,} records dropped)"
    yield (
        f"  dead letters 死信, of the whole district {_share(counts['district_dead_letter_share'])}"
        f" ({counts['district_dead_letters']:,} records rejected)"
    )


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2%}"
