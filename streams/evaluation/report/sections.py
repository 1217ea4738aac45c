"""The sections of the page that show the score tree, the metrics and the portraits. None where there is nothing to show."""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from streams.evaluation.report import charts
from streams.evaluation.report.data import FEWEST_PEERS, Figure, Member, Node, Portrait, ReportData, Share
from streams.evaluation.report.markup import Markup, element, join
from streams.evaluation.report.wording import both, day, percent, points, quantity

__all__ = ["classroom", "details", "dimensions", "figures", "members", "portraits", "strengths", "trend"]

MOST_LISTED: Final = 4
_FAMILIES: Final = (
    ("classroom", "智慧课堂", "Classroom"),
    ("prep", "备课", "Preparation"),
    ("research", "教研", "Research"),
)


def _section(chinese: str, english: str, *children: Markup | None, long: bool = False) -> Markup:
    return element("section", element("h2", both(chinese, english)), *children, class_="long" if long else None)


class _Column(NamedTuple):
    """A heading in both languages, the percent of the width, and how the cells below it look."""

    chinese: str
    english: str
    width: int
    look: Literal["number", "number wrap", "chart"] | None = "number"


#: How a row looks, and the content of its cells.
_Row = tuple[str | None, Sequence[str | None]]


def _table(columns: Sequence[_Column], rows: Iterable[_Row]) -> Markup:
    """On a narrow screen each row becomes a block, in which a number carries its heading."""
    headings = [
        element("th", both(column.chinese, column.english), class_=column.look, style=f"width:{column.width}%")
        for column in columns
    ]
    body = [
        element("tr", *(_cell(column, cell) for column, cell in zip(columns, cells, strict=True)), class_=look)
        for look, cells in rows
    ]
    return element("table", element("thead", element("tr", *headings)), element("tbody", *body))


def _cell(column: _Column, content: str | None) -> Markup:
    label = f"{column.chinese} {column.english}" if column.look in {"number", "number wrap"} else None
    return element("td", content, class_=column.look, data_label=label)


def dimensions(data: ReportData) -> Markup | None:
    """Return the places directly below the whole, with their bars and weights."""
    top = data.children("")
    if not top:
        return None
    columns = (
        _Column("维度", "dimension", 36, None),
        _Column("得分", "points", 10),
        _Column("", "", 28, "chart"),
        _Column("权重", "weight", 13),
        _Column("覆盖率", "coverage", 13),
    )
    return _section("维度得分", "Dimensions", _table(columns, (("top", _scored(node)) for node in top)))


def details(data: ReportData) -> Markup | None:
    """Return every place of the score tree with its bar, weight, coverage, metric and sample."""
    below = [node for node in data.nodes if node.path]
    if not below:
        return None
    columns = (
        _Column("维度与指标", "dimension, indicator", 41, None),
        _Column("得分", "points", 8),
        _Column("", "", 10, "chart"),
        _Column("权重", "weight", 10),
        _Column("覆盖率", "coverage", 9),
        _Column("指标值", "metric", 13, "number wrap"),
        _Column("样本", "n", 9),
    )
    note = element(
        "p",
        both(
            "权重为占总分的比例；指标名称下方是评分标准，其间按比例得分。",
            "Weights are shares of the whole. Below a name stands how its metric earns points, in proportion between.",
        ),
        class_="small",
    )
    return _section("得分明细", "Scores in detail", _table(columns, map(_node, below)), note, long=True)


def _node(node: Node) -> _Row:
    figure = quantity(node.figure, node.unit) if node.is_indicator else None
    return f"depth-{min(node.depth, 5)}", [*_scored(node), figure, f"{node.sample_size:,}"]


def _scored(node: Node) -> list[str]:
    norm = element("div", both(*node.norm), class_="small norm") if node.norm else None
    return [
        join(both(node.chinese, node.english), norm),
        points(node.value),
        charts.bar(node.value, f"{node.chinese} {node.english}: {points(node.value)}"),
        percent(node.weight),
        percent(node.coverage, 0),
    ]


def strengths(data: ReportData) -> Markup | None:
    """Return the strongest indicators, and those by which the whole would gain most."""
    known = data.indicators()
    if not known:
        return None
    strong = sorted(known, key=lambda node: (-(node.value or 0), -node.weight, node.path))
    strong = [node for node in strong if (node.value or 0) >= charts.GOOD_FROM][:MOST_LISTED]
    weak = sorted(known, key=lambda node: (-node.lost, node.path))
    weak = [node for node in weak if (node.value or 0) < charts.GOOD_FROM][:MOST_LISTED]
    return _section(
        "亮点与关注",
        "Strengths, and what to look at",
        element(
            "div",
            _card("亮点", "Strengths", "good", strong),
            _card("值得关注", "What to look at", "weak", weak),
            class_="two",
        ),
        element(
            "p",
            both(
                "“值得关注”按可提升的总分排序；原因须结合课堂判断。",
                "Ordered by what the whole score could gain; the reasons are for people to judge.",
            ),
            class_="small",
        ),
    )


def _card(chinese: str, english: str, look: str, nodes: Sequence[Node]) -> Markup:
    listed = [
        element(
            "li",
            both(node.chinese, node.english),
            ": ",
            element("b", points(node.value)),
            " 分 ",
            element(
                "span",
                f"({quantity(node.figure, node.unit)}, n = {node.sample_size:,}; "
                + (f"+{points(node.lost)} 可提升 to gain)" if look == "weak" else f"{percent(node.weight)} 权重 weight)"),
                class_="small",
            ),
        )
        for node in nodes
    ]
    inside = element("ol", *listed) if listed else element("p", both("没有指标符合。", "None this week."), class_="small")
    return element("div", element("h3", both(chinese, english)), inside, class_=f"card {look}")


def trend(data: ReportData) -> Markup | None:
    """Return the whole score of the last weeks."""
    if not any(week.value is not None for week in data.trend):
        return None
    labels = [day(week.week) for week in data.trend]
    values = [week.value for week in data.trend]
    said = "; ".join(f"{label} {points(value)}" for label, value in zip(labels, values, strict=True))
    return _section(
        "近八周趋势",
        "The last eight weeks",
        charts.line(values, labels, f"总分趋势 score by week: {said}"),
        element(
            "p",
            both("横轴为各周的周一；– 表示当周没有总分。", "Weeks by their Monday; – is a week without a score."),
            class_="small",
        ),
    )


def classroom(data: ReportData) -> Markup | None:
    """Return attendance, the shares of the five-study classroom, and who talked."""
    parts = [
        _attendance(data.figure("attendance_rate")),
        _shares("五学课堂占比", "Five-study shares, of lesson time", data.strategies, data.figure("strategy_balance")),
        _shares("课堂话语占比", "Talk shares, of speech samples", data.talk, data.figure("teacher_talk_share")),
    ]
    if not any(parts):
        return None
    return _section("课堂观察", "In the classroom", *parts)


def _attendance(figure: Figure | None) -> Markup | None:
    if figure is None or figure.value is None:
        return None
    share = min(max(figure.value, 0.0), 1.0)
    return join(
        element("h3", both("出勤率", "Attendance"), f" {percent(figure.value)} ", _sample(figure)),
        charts.bar(share, f"出勤率 attendance: {percent(figure.value)}"),
    )


def _shares(chinese: str, english: str, shares: Sequence[Share], figure: Figure | None) -> Markup | None:
    if not shares:
        return None
    said = "; ".join(f"{share.chinese} {share.english} {percent(share.value)}" for share in shares)
    legend = [
        element(
            "li",
            element("span", class_="swatch", style=f"background:{colour}"),
            both(share.chinese, share.english),
            f" {percent(share.value)}",
        )
        for share, colour in zip(shares, charts.COLOURS, strict=False)
    ]
    return join(
        element("h3", both(chinese, english), " ", _sample(figure) if figure else None),
        charts.stacked([share.value for share in shares], f"{chinese} {english}: {said}"),
        element("ul", *legend, class_="legend"),
    )


def _sample(figure: Figure) -> Markup:
    return element("span", f"n = {figure.sample_size:,}", class_="small")


def figures(data: ReportData) -> Markup | None:
    """Return every metric of the week with its sample, the week before and the district."""
    parts: list[Markup] = []
    for family, chinese, english in _FAMILIES:
        own = [figure for figure in data.figures if figure.family == family]
        if own:
            parts += [element("h3", both(chinese, english)), _metric_table(own)]
    if not parts:
        return None
    note = element(
        "p",
        both(
            f"n 为样本量；箭头表示期望方向。“全区”在同类不足 {FEWEST_PEERS} 个时不显示。",
            f"n is the sample size; arrows show which way is better. The district is shown beside {FEWEST_PEERS} or more.",
        ),
        class_="small",
    )
    return _section("本周数据", "Metrics of the week", *parts, note, long=True)


def _metric_table(own: Sequence[Figure]) -> Markup:
    columns = (
        _Column("指标", "metric", 34, None),
        _Column("本周", "this week", 19, "number wrap"),
        _Column("样本", "n", 10),
        _Column("上周", "week before", 19, "number wrap"),
        _Column("全区", "district", 18, "number wrap"),
    )
    return _table(columns, map(_metric, own))


def _metric(figure: Figure) -> _Row:
    arrow = {"higher": " ↑", "lower": " ↓"}.get(figure.direction, "")
    values = [quantity(value, figure.unit) for value in (figure.value, figure.before, figure.district)]
    return None, [join(both(figure.chinese, figure.english), arrow), values[0], f"{figure.sample_size:,}", *values[1:]]


def portraits(data: ReportData) -> Markup | None:
    """Return the levels of the portrait over time."""
    if not data.portraits:
        return None
    about: list[Markup] = []
    if data.activity is not None:
        activity = data.activity
        words = both(
            f"截至 {day(activity.day)}，近 7 天有数据 {activity.days_7} 天，近 28 天 {activity.days_28} 天。",
            f"Up to {day(activity.day)}: active on {activity.days_7} of 7 and {activity.days_28} of 28 days.",
        )
        about.append(element("p", words))
    if data.inactive:
        about.append(
            element("p", both("已连续 7 天以上没有数据。", "Nothing has come for 7 days or more."), class_="notice quiet")
        )
    cards = element("div", *(_portrait(portrait) for portrait in data.portraits), class_="portraits")
    return _section("数字画像", "Portrait", *about, cards, long=True)


def _portrait(portrait: Portrait) -> Markup:
    last = portrait.levels[-1]
    times = [float(level.day.toordinal()) for level in portrait.levels]
    said = f"{portrait.chinese} {portrait.english}: {quantity(last.level, portrait.unit)}, {last.day}"
    compared = "无同类比较 no comparison"
    if portrait.z is not None:
        compared = f"z = {portrait.z:+z.1f}, {portrait.peers} 个同类 peers"
    return element(
        "div",
        element("b", both(portrait.chinese, portrait.english)),
        element("span", quantity(last.level, portrait.unit), class_="level"),
        charts.spark(times, [level.level for level in portrait.levels], said),
        element("div", f"{day(portrait.levels[0].day)}–{day(last.day)} · {compared}", class_="small"),
        class_="portrait",
    )


def members(data: ReportData) -> Markup | None:
    """Return the scores of the classes of a school or the schools of a group, by id and not by rank."""
    if not data.members:
        return None
    chinese, english = ("成员学校", "Member schools") if data.subject.kind == "group" else ("班级", "Classes")
    columns = (
        _Column(chinese, english, 40, None),
        _Column("得分", "points", 10),
        _Column("", "", 37, "chart"),
        _Column("覆盖率", "coverage", 13),
    )
    return _section(chinese, english, _table(columns, map(_member, data.members)), long=True)


def _member(member: Member) -> _Row:
    name = member.name or member.entity_id
    named = join(element("bdi", name), " ", element("bdi", member.entity_id, class_="en") if member.name else None)
    bar = charts.bar(member.value, f"{name}: {points(member.value)}")
    return None, [named, points(member.value), bar, percent(member.coverage, 0)]
