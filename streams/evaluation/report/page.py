"""The page: its sections in the order a reader meets them. Nothing on it comes from elsewhere, and it asks no clock."""

import shlex
from datetime import UTC
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

from schemas.evaluation.tree import LOWEST_COVERAGE
from streams.evaluation.report import charts, sections
from streams.evaluation.report.data import Quality, ReportData, week_days
from streams.evaluation.report.markup import Markup, element, join
from streams.evaluation.report.wording import KINDS, NO_VALUE, both, day, percent, points
from streams.evaluation.weeks import iso_week

__all__ = ["page"]

#: Even a mistake here could not make the page load anything or run a script.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
#: From these shares on the quality of the data is worth a sentence.
_RECEIVED_FROM: Final = 0.98
_LATE_FROM: Final = 0.05
_REJECTED_FROM: Final = 0.01
_CONFIDENTIAL: Final = {
    "teacher": both(
        "人事信息，注意保密。仅供教师本人及其授权的管理者阅读，用于改进教学，不得公开、转发或用于排名。",
        "Confidential personnel information: for this teacher and those in charge alone, to improve teaching. "
        "Not to be published, passed on or used for rankings.",
    ),
}


def page(data: ReportData) -> str:
    """Return the report as one HTML page, which is well-formed XML as well. The same data gives the same page."""
    subject = data.subject
    title = f"{subject.name or subject.entity_id} {iso_week(data.week)}"
    style = files("streams.evaluation.report").joinpath("report.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="robots", content="noindex"),
        element("title", f"评价报告 {title}"),
        element("style", Markup(f"\n{style}")),
    )
    body = element("body", element("main", _header(data), _notice(data), *_content(data), _footer(data)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='zh-CN', xmlns='http://www.w3.org/1999/xhtml')}\n"


def _content(data: ReportData) -> list[Markup | None]:
    if data.is_empty:
        return [_nothing(data)]
    return [
        _summary(data),
        sections.dimensions(data),
        sections.strengths(data),
        sections.trend(data),
        sections.classroom(data),
        sections.portraits(data),
        sections.members(data),
        sections.figures(data),
        sections.details(data),
        _how_to_read(),
    ]


def _header(data: ReportData) -> Markup:
    subject = data.subject
    first, last = week_days(data.week)
    chinese, english = KINDS[subject.kind]
    facts = [
        element("span", both(chinese, english), " ", element("bdi", subject.entity_id)),
        *(element("span", both(words, other), " ", element("bdi", value)) for words, other, value in subject.about),
        element("span", f"{first:%Y} 年 {day(first)}–{day(last)} ", element("span", iso_week(data.week), class_="en")),
    ]
    return element(
        "header",
        element("p", both("智慧教育综合评价报告", "Evaluation report"), class_="over"),
        element("h1", element("bdi", subject.name or subject.entity_id)),
        element("p", *facts, class_="facts"),
    )


def _notice(data: ReportData) -> Markup | None:
    words = _CONFIDENTIAL.get(data.subject.kind)
    if words is None:
        return None
    return element("p", words, class_="notice")


def _nothing(data: ReportData) -> Markup:
    return element(
        "section",
        element("h2", both("没有数据", "No data")),
        element("p", "截至所示时刻，本周没有任何可用的课堂、备课或教研数据，因此没有评分，也没有图表。"),
        element(
            "p",
            f"As of the instant below nothing is known of {iso_week(data.week)}: no lesson, no preparation and no "
            "research activity has closed. Check the id and the week, and that workers and the evaluator run.",
            class_="small",
            lang="en",
        ),
        class_="empty",
    )


def _summary(data: ReportData) -> Markup:
    root = data.root
    value = root.value if root else None
    coverage = root.coverage if root else None
    words = f"综合评分 overall score: {points(value)} of 100"
    quality = data.quality
    tiles = [
        (percent(coverage, 0), "覆盖率", "coverage"),
        (percent(quality.received), "事件到达率", "received"),
        (percent(quality.late, 2), "迟到事件", "late events"),
        (percent(quality.duplicate, 2), "重复事件", "duplicates"),
        (percent(quality.dead_letter, 2), "拒收（全区）", "rejected, district"),
    ]
    return element(
        "section",
        element("h2", both("综合评分", "Overall score")),
        element(
            "div",
            charts.ring(value, words),
            element(
                "div",
                _verdict(value, coverage),
                element("div", *(_tile(*tile) for tile in tiles), class_="tiles"),
                *(element("p", both(*words), class_="small") for words in _quality_words(quality)),
            ),
            class_="summary",
        ),
    )


def _quality_words(quality: Quality) -> list[tuple[str, str]]:
    """Say what the quality of the data means for the reader, also where it is not known."""
    if quality == Quality():
        return [("本周数据质量尚未统计。", "The quality of the week's data has not been counted.")]
    found = []
    if quality.received is None:
        words = "No device numbers its events, so whether any are missing is unknown."
        found.append(("设备没有给事件编号，无法判断是否缺失。", words))
    elif quality.received < _RECEIVED_FROM:
        lost = percent(1 - quality.received)
        words = f"About {lost} of the events did not arrive; what is counted here may be too low."
        found.append((f"约 {lost} 的事件未到达，数字可能偏低。", words))
    if (late := quality.late or 0.0) >= _LATE_FROM:
        words = f"{percent(late)} of the events came late: who read this week earlier may have read other numbers."
        found.append((f"{percent(late)} 的事件迟到，此前读到的数字可能不同。", words))
    if (rejected := quality.dead_letter or 0.0) >= _REJECTED_FROM:
        words = f"{percent(rejected)} of the district's records were rejected as malformed and are counted nowhere."
        found.append((f"全区 {percent(rejected)} 的记录格式有误被拒收，不计入任何数字。", words))
    return found or [("数据基本完整。重复事件已剔除。", "The data are nearly complete. Duplicates are not counted.")]


def _tile(number: str, chinese: str, english: str) -> Markup:
    return element("div", element("b", number), element("span", both(chinese, english)), class_="tile")


def _verdict(value: float | None, coverage: float | None) -> Markup:
    lowest = f"{100 * LOWEST_COVERAGE:.0f} %"
    if coverage is None:
        chinese = "截至所示时刻，本周尚未评分。"
        english = "The week has not been scored as of this instant."
    elif value is None:
        chinese = f"可用指标只占权重的 {percent(coverage, 0)}，低于 {lowest}，不给总分。"
        english = f"Only {percent(coverage, 0)} of the weight has metrics; below {lowest} there is no score."
    else:
        chinese = f"总分 {points(value)} 分，依据占权重 {percent(coverage, 0)} 的可用指标。"
        english = f"{points(value)} of 100 points, from indicators that hold {percent(coverage, 0)} of the weight."
    return join(element("p", chinese), element("p", english, class_="small", lang="en"))


_NOTES: Final = {
    "分数为 0–100 分：每个指标按评价方案换算为 0–1，再按权重平均；没有数据的指标不计入，而降低覆盖率。": (
        "Points run from 0 to 100. Each indicator is turned into 0 to 1 by the configuration's norm and weighed; what has "
        "no metric counts neither for nor against, but lowers the coverage."
    ),
    "覆盖率低于 60 % 不给分。样本量小的数字只能作参考。": (
        "Below 60 % coverage there is no score. A metric with a small sample says little."
    ),
    "各级数字由课时、教师、活动的原始计数合并而成，不是平均数的平均。": (
        "Figures of several lessons, teachers or activities are merged from their counts, never averaged from averages."
    ),
    "画像水平的半衰期为 14 天。z 表示与同类对象相比偏离中位数多少；同类少于 10 个时不显示比较。": (
        "A portrait's level has a half-life of 14 days. z says how far it is from the median of its peers; with fewer than "
        "10 there is no comparison."
    ),
    "颜色：绿色 70 分起，黄色 50–70 分，红色低于 50 分。颜色只是阅读帮助，不是等级。": (
        "Colours: green from 70, yellow from 50, red below. They help reading and are no grades."
    ),
    "事件可能迟到。事后修订会产生新版本，本报告按下列时刻可原样重现。": (
        "Events may come late and revise what was read; as of the instant below this report can be made again as it is."
    ),
}


def _how_to_read() -> Markup:
    notes = (element("li", both(chinese, english)) for chinese, english in _NOTES.items())
    return element("section", element("h2", both("如何阅读", "How to read this")), element("ul", *notes, class_="notes"))


def _footer(data: ReportData) -> Markup:
    local = data.as_of.astimezone(ZoneInfo(data.time_zone))
    utc = data.as_of.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    command = shlex.join(
        ["classpulse", "report", data.subject.kind, data.subject.entity_id, "--week", iso_week(data.week), "--as-of", utc]
    )
    rows = [
        (both("数据时刻", "as of"), f"{local:%Y-%m-%d %H:%M:%S} {data.time_zone} ({utc})"),
        (both("评价方案版本", "configuration version"), _versions(data.config_version)),
        (both("指标目录版本", "catalogue version"), _versions(*data.catalogue_versions)),
        (both("画像版本", "portrait version"), _versions(*data.portrait_versions)),
        (both("重现本报告", "make it again"), element("code", command)),
    ]
    listed = [cell for name, value in rows for cell in (element("dt", name), element("dd", value))]
    return element("footer", element("dl", *listed))


def _versions(*numbers: int | None) -> str:
    return ", ".join(str(number) for number in numbers if number is not None) or NO_VALUE
