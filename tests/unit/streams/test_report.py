"""The report: whole, self-contained, safe against hostile names, and honest about what is not known."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest

from schemas.evaluation.config import default_text, parse
from schemas.evaluation.indicators import indicator_metrics as declared
from schemas.evaluation.portraits import DIMENSIONS
from schemas.evaluation.tree import KINDS
from streams.evaluation.report.data import (
    Activity,
    Level,
    Member,
    MetricValue,
    Node,
    Portrait,
    Quality,
    ReportData,
    ReportKind,
    Share,
    Subject,
    WeekScore,
)
from streams.evaluation.report.page import page
from streams.evaluation.report.wording import norm_words, percent, quantity

WEEK = date(2026, 11, 16)
XHTML = "{http://www.w3.org/1999/xhtml}"
SVG = f"{XHTML}svg"
#: An id may hold anything that is a text.
HOSTILE = "</title><script>alert(1)</script>\"' onload=x &amp; \x00\x1b\u202e]]>"


def example(kind: ReportKind = "school", entity_id: str = "s07", name: str = "高新区第七小学") -> ReportData:
    """Return a report with everything in it."""
    return ReportData(
        subject=Subject(kind, entity_id, name, (("学段", "stage", "primary"), ("教育集团", "group", "第三教育集团"))),
        week=WEEK,
        as_of=datetime(2026, 11, 23, 2, 30, 0, 123_000, UTC),
        time_zone="Asia/Shanghai",
        catalogue_versions=(3,),
        portrait_versions=(1,),
        config_version=4,
        nodes=(
            Node("", 0, "智慧教育综合评价", "Smart education", 0.714, 0.92, 1.0, sample_size=12),
            Node("teaching", 1, "智慧教", "Smart teaching", 0.66, 1.0, 0.4, sample_size=12),
            Node("teaching/five", 2, "五学课堂", "Five-study classroom", 0.55, 1.0, 0.2, sample_size=41),
            indicator("teaching/five/balance", "五学均衡度", "strategy balance", 0.41, 0.1, 0.487, "0 to 1", 41),
            indicator("teaching/five/tools", "数字工具使用占比", "tool share", 0.69, 0.1, 0.138, "share", 41),
            indicator("teaching/response", "应答率", "response rate", 0.77, 0.2, 0.64, "share", 1212),
            Node("learning", 1, "个性学", "Personal learning", 0.81, 1.0, 0.4, sample_size=41),
            indicator("learning/breadth", "参与广度", "participation breadth", 0.81, 0.4, 0.729, "share", 1640),
            Node("research", 1, "高效研", "Efficient research", None, 0.5, 0.2, sample_size=0),
            indicator("research/latency", "反馈时延", "feedback latency", 0.2, 0.1, 190_800, "seconds", 6),
            replace(indicator("research/loop", "反馈闭环率", "closed loop", 0, 0.1, 0, "share", 0), value=None),
        ),
        quality=Quality(0.9993, 0.0121, 0.0382, 0.0007),
        trend=tuple(
            WeekScore(WEEK - timedelta(weeks=7 - n), value, 0.9)
            for n, value in enumerate((0.61, 0.64, None, 0.63, 0.66, 0.7, 0.69, 0.714))
        ),
        metric_values=(
            figure("classroom", "attendance_rate", "出勤率", "share", "higher", 0.983, 1640, 0.979, 0.981),
            figure("classroom", "teacher_occupancy", "教师行为占有率 Rt", "share", "context", 0.52, 9120),
            figure("classroom", "behaviour_conversion", "师生行为转换率 Ch", "share", "context", 0.31, 9120),
            figure("classroom", "strategy_balance", "五学均衡度", "0 to 1", "higher", 0.487, 41, 0.5),
            figure("classroom", "teacher_talk_share", "教师语言比例", "share", "context", 0.58, 9120),
            figure("classroom", "wait_time_seconds", "候答时间", "seconds", "higher", 3.4, 388, 2.9, 3.1),
            figure("prep", "active_prep_minutes", "有效备课时长", "minutes", "context", 655, 1900, 702, 698),
            figure("research", "feedback_latency_seconds", "反馈时延", "seconds", "lower", 190_800, 6),
        ),
        strategies=(
            Share("问题引学", "question-led", 0.34),
            Share("情境创学", "situational", 0.13),
            Share("活动互学", "interactive", 0.28),
            Share("评价优学", "evaluative", 0.19),
            Share("数字助学", "digital", 0.06),
        ),
        modes=(Share("练习型", "practice", 0.25), Share("对话型", "dialogue", 0.75)),
        talk=(Share("教师", "teacher", 0.58), Share("学生", "student", 0.31), Share("沉寂", "silence", 0.11)),
        portraits=tuple(
            Portrait(chinese, english, "share", "higher", levels(start), z, 23 if z else 4)
            for chinese, english, start, z in (
                ("出勤", "attendance", 0.9, 0.4),
                ("课堂参与", "engagement", 0.52, -1.2),
                ("应答", "response", 0.6, None),
                ("参与广度", "breadth", 0.7, 0.9),
                ("数字工具使用", "digital tools", 0.2, 0.1),
            )
        ),
        activity=Activity(WEEK + timedelta(days=4), 5, 20),
        members=(Member("s07-c1", "五年级1班", 0.74, 0.88), Member("s07-c2", "五年级2班", None, 0.41)),
    )


def indicator(
    path: str, chinese: str, english: str, value: float, weight: float, figure: float, unit: str, sample: int
) -> Node:
    """Return an indicator."""
    depth = path.count("/") + 1
    return Node(
        path,
        depth,
        chinese,
        english,
        value,
        1.0,
        weight,
        is_indicator=True,
        figure=figure,
        unit=unit,
        norm=("90 % 及以上满分", "all points for 90 % or more"),
        sample_size=sample,
    )


def figure(
    family: str, name: str, chinese: str, unit: str, direction: str, value: float, sample: int, *others: float
) -> MetricValue:
    """Return a metric; ``others``: of the week before, of the district."""
    return MetricValue(family, name, chinese, name.replace("_", " "), unit, direction, value, sample, 41, *others)


def levels(start: float) -> tuple[Level, ...]:
    """Return levels of eight weeks that move a little."""
    days = [WEEK - timedelta(days=50 - n) for n in range(0, 55, 3)]
    return tuple(Level(one, start + 0.003 * n * (-1) ** (n // 4)) for n, one in enumerate(days))


def parsed(text: str) -> ET.Element:
    """Parse the page as XML, which fails unless it is well-formed."""
    return ET.fromstring(text.removeprefix("<!DOCTYPE html>"))


def shown(text: str) -> str:
    """Return the text of the page as a reader sees it."""
    root = parsed(text)
    return " ".join(" ".join(root.itertext()).split())


@pytest.mark.parametrize("kind", ["school", "teacher", "class", "group"])
def test_a_full_report_is_well_formed(kind: ReportKind) -> None:
    """Every section is there in both languages, with its charts, in one well-formed page."""
    text = page(example(kind))
    assert len(list(parsed(text).iter(SVG))) > 20
    for words in (
        "综合评分",
        "Overall score",
        "71.4",
        "维度得分",
        "Dimensions",
        "得分明细",
        "亮点",
        "Strengths",
        "值得关注",
        "近八周趋势",
        "五学课堂占比",
        "课堂话语占比",
        "S-T 教学模式",
        "Rt 0.52 · Ch 0.31",
        "对话型 dialogue 75 % 的课 of lessons",
        "出勤率",
        "98.3 %",
        "备课",
        "Preparation",
        "教研",
        "数字画像",
        "Portrait",
        "如何阅读",
        "How to read this",
        "2.2 天 d",
        "n = 1,640",
        "覆盖率",
        "92 %",
        "99.9 %",
        "z = -1.2, 23",
    ):
        assert words in shown(text), words


def test_nothing_comes_from_elsewhere() -> None:
    """No address, no script, no import, no reference to another file: the page is whole, and may not load anything."""
    text = page(example())
    without_namespace = text.replace('xmlns="http://www.w3.org/1999/xhtml"', "")
    loading = r"https?:|//[a-z]|url\(|@import|<script|<link|<img|<iframe|\bsrc=|\bhref=| on[a-z]+="
    assert not re.search(loading, without_namespace)
    assert "default-src 'none'" in text.replace("&#39;", "'")


@pytest.mark.parametrize("kind", ["school", "teacher"])
def test_hostile_names_are_text(kind: ReportKind) -> None:
    """Ids and names with markup, quotes, control and direction characters do not change the page's structure."""
    plain = example(kind)
    hostile = replace(
        plain,
        subject=Subject(kind, HOSTILE, HOSTILE, ((HOSTILE, HOSTILE, HOSTILE),) * 2),
        members=tuple(replace(member, entity_id=HOSTILE, name=HOSTILE) for member in plain.members),
        nodes=tuple(replace(node, chinese=HOSTILE, english=HOSTILE) for node in plain.nodes),
        metric_values=tuple(replace(figure, unit=HOSTILE) for figure in plain.metric_values),
        strategies=tuple(replace(share, chinese=HOSTILE) for share in plain.strategies),
    )
    text = page(hostile)
    assert [element.tag for element in parsed(text).iter()] == [element.tag for element in parsed(page(plain)).iter()]
    assert {key for element in parsed(text).iter() for key in element.attrib} == {
        key for element in parsed(page(plain)).iter() for key in element.attrib
    }
    assert "<script>alert(1)</script>" in shown(text)
    assert not re.search("[\x00\x1b\u202e]", text)


def test_a_report_without_data_says_so() -> None:
    """Without metrics there is no chart and no score, but a sentence that says what is missing and where to look."""
    text = page(
        ReportData(
            subject=Subject("class", "s99-c1"),
            week=WEEK,
            as_of=datetime(2026, 11, 23, tzinfo=UTC),
            time_zone="Asia/Shanghai",
        )
    )
    assert "没有数据" in shown(text)
    assert "No data" in shown(text)
    assert not list(parsed(text).iter(SVG))


def test_below_the_lowest_coverage_there_is_no_score() -> None:
    """Too little data: the coverage is shown and the reason, and no number that looks like a score."""
    full = example()
    root = replace(full.nodes[0], value=None, coverage=0.41)
    text = shown(page(replace(full, nodes=(root, *full.nodes[1:]))))
    assert "Only 41 % of the weight has metrics; below 60 % there is no score." in text
    assert "无评分" in text


def test_a_teachers_report_is_confidential() -> None:
    """Only the report about a person says whom it is for."""
    assert "Confidential" in shown(page(example("teacher", "t-1")))
    assert "Confidential" not in shown(page(example()))


def test_the_page_says_how_to_make_it_again() -> None:
    """As-of instant, versions and the command stand on the page; the same data gives the same bytes."""
    text = page(example(entity_id="第七 小学"))
    for words in ("2026-11-23 10:30:00 Asia/Shanghai (2026-11-23T02:30:00.123Z)", "configuration version 4"):
        assert words in shown(text)
    assert "classpulse report school '第七 小学' --week 2026-W47 --as-of 2026-11-23T02:30:00.123Z" in shown(text)
    assert text == page(example(entity_id="第七 小学"))


def test_strengths_are_high_and_the_rest_is_ordered_by_what_it_costs() -> None:
    """A weak indicator of little weight comes after a fair one that costs the whole more."""
    text = shown(page(example()))
    strong, weak = text.split("Strengths, and what to look at")[1].split("值得关注")[:2]
    assert "参与广度" in strong
    assert "五学均衡度" not in strong
    assert weak.index("反馈时延") < weak.index("五学均衡度") < weak.index("数字工具使用占比")


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (None, "share", "–"),
        (0.99996, "share", ">99.9 %"),
        (1.0, "share", "100.0 %"),
        (0.0, "share", "0.0 %"),
        (3.44, "seconds", "3.4 秒 s"),
        (600.0, "seconds", "10.0 分钟 min"),
        (5400.0, "milliseconds", "5.4 秒 s"),
        (190_800.0, "seconds", "2.2 天 d"),
        (0.4871, "0 to 1", "0.487"),
        (1234.0, "minutes", "1,234 分钟 min"),
        (-30.0, "seconds", "-30.0 秒 s"),
    ],
)
def test_numbers_have_units_that_fit(value: float | None, unit: str, said: str) -> None:
    """Shares are percentages that never round up to all, times take the unit of their size, nothing is not zero."""
    assert quantity(value, unit) == said
    assert percent(1.0) == "100.0 %"


def test_a_number_carries_its_heading_where_columns_have_no_room() -> None:
    """On a narrow screen a row is a block: each number has its heading in both languages, and none is lost."""
    cells = [cell for cell in parsed(page(example())).iter(f"{XHTML}td") if (cell.get("class") or "").startswith("number")]
    labels = [cell.get("data-label") or "" for cell in cells]
    assert len(cells) > 50
    assert all(re.search(r"[\u4e00-\u9fff]+ [a-z]", label) for label in labels)
    assert {"得分 points", "权重 weight", "覆盖率 coverage", "指标值 metric", "样本 n", "本周 this week"} <= set(labels)


def test_norms_are_told_in_words() -> None:
    """Every norm of the default evaluation names in both languages, with units, what earns all points."""
    found = [norm_words(indicator) for indicator in parse(default_text()).indicators()]
    assert all("满分" in chinese and english.startswith("all points") for chinese, english in found)
    assert not [text for words in found for text in words if re.search(r"→|\w_\w|e[+-]?\d|-0\b", text)]
    assert (
        "90 % 及以上满分，40 % 及以下 0 分；样本不足 5 个不评分",
        "all points for 90 % or more, none for 40 % or less; not scored with a sample below 5",
    ) in found


def test_names_are_words_in_both_languages() -> None:
    """No metric, indicator or dimension of a portrait is shown by its identifier."""
    evaluation = parse(default_text())
    named = [(one.name, one.chinese, one.english) for one in declared().values()]
    named += [(one.name, one.chinese, one.english) for kind in DIMENSIONS.values() for one in kind]
    named += [(node.path, node.chinese, node.english) for kind in KINDS for node in evaluation.nodes(kind) if node.path]
    for name, chinese, english in named:
        assert re.search(r"[\u4e00-\u9fff]", chinese), name
        assert english
        assert "_" not in english
        assert not re.search(r" (seconds|minutes|ms|p50|p90|rate|share|gini)$", english) or " of " in english, name


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        (Quality(), "has not been counted"),
        (Quality(None, 0.0, 0.0, 0.0), "No device numbers its events"),
        (Quality(0.9, 0.0, 0.0, 0.0), "10.0 % of the events did not arrive"),
        (Quality(1.0, 0.06, 0.0, 0.0), "6.0 % of the events came late"),
        (Quality(1.0, 0.0, 0.0, 0.02), "2.0 % of the district's records were rejected"),
        (Quality(0.999, 0.01, 0.03, 0.001), "nearly complete"),
    ],
)
def test_the_quality_of_the_data_is_said_in_a_sentence(quality: Quality, said: str) -> None:
    """Beside the shares stands what they mean for the reader, also where they are not known."""
    assert said in shown(page(replace(example(), quality=quality)))


def test_nothing_is_minus_zero() -> None:
    """A value that rounds to zero has no sign, in texts and in the coordinates of charts."""
    none = replace(example().metric_values[0], value=-1e-9, before=-0.0)
    text = page(
        replace(example(), metric_values=(none, *example().metric_values[1:]), talk=(Share("教师", "teacher", -0.0),))
    )
    assert not re.search(r"(?<![\w.])-0(?:\.0+)?(?![\d.])", text)
