"""Who speaks: metrics 1 to 4."""

from typing import Final

from schemas.metrics.metric import MINUTE_US, SECOND_US, WINDOW_10M, WINDOW_LESSON, Metric

__all__ = ["CELL_US", "COVERED_US", "LONGEST_SEGMENT_US", "METRICS", "SPEAKERS", "ST_MODES"]

#: Length of the cells in which speech is taken, aligned to the Unix epoch: Flanders' interval, and one of S-T analysis.
CELL_US: Final = 3 * SECOND_US
#: A cell counts if speech or silence was recorded for at least half of it.
COVERED_US: Final = CELL_US // 2
#: No single record counts for longer.
LONGEST_SEGMENT_US: Final = 60 * MINUTE_US
#: Who may speak; of two that fill a cell equally, the earlier one counts.
SPEAKERS: Final = ("teacher", "both", "student", "silence")
#: 练习型, 讲授型, 对话型, 混合型.
ST_MODES: Final = ("practice", "lecture", "dialogue", "mixed")

_SPEECH: Final = ("speech.recorded",)
_TALK_WINDOWS: Final = (WINDOW_10M, WINDOW_LESSON)
_WHEN_SAMPLED: Final = "when a `speech.recorded` reaches into the window"
_WHEN_CODED: Final = "when a `speech.recorded` with a FIAS code reaches into the window"
_ST: Final = "S-T analysis (Fujita 1988), sampled in cells of 3 s"
_FIAS: Final = "Flanders' interaction analysis, ten categories (Flanders 1970), in cells of 3 s"


def _talk_share(name: str, chinese: str, english: str, codes: str) -> Metric:
    return Metric(
        name=name,
        number=3,
        chinese=chinese,
        english=english,
        family="classroom",
        module="talk",
        unit="share",
        highest=1.0,
        numerator=f"cells with FIAS code {codes}",
        denominator="cells with a FIAS code",
        sample="the denominator",
        exists=_WHEN_CODED,
        windows=_TALK_WINDOWS,
        direction="context",
        events=_SPEECH,
        source=_FIAS,
    )


def _talk_ratio(name: str, chinese: str, english: str, numerator: str, denominator: str) -> Metric:
    return Metric(
        name=name,
        number=4,
        chinese=chinese,
        english=english,
        family="classroom",
        module="talk",
        unit="ratio",
        highest=1.0,
        numerator=numerator,
        denominator=denominator,
        sample="the denominator",
        exists=_WHEN_CODED,
        windows=(WINDOW_LESSON,),
        direction="higher",
        events=_SPEECH,
        source=_FIAS,
    )


METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="teacher_occupancy",
        number=1,
        chinese="教师行为占有率 Rt",
        english="teacher's share of behaviour Rt",
        family="classroom",
        module="talk",
        unit="share",
        highest=1.0,
        numerator="cells of teacher behaviour (teacher) + half of those of common behaviour (both)",
        denominator="cells; silence and quiet work are student behaviour",
        sample="cells",
        exists=_WHEN_SAMPLED,
        windows=_TALK_WINDOWS,
        direction="context",
        events=_SPEECH,
        source=_ST,
    ),
    Metric(
        name="behaviour_conversion",
        number=2,
        chinese="师生行为转换率 Ch",
        english="changes between teacher and students Ch",
        family="classroom",
        module="talk",
        unit="share",
        highest=1.0,
        numerator="runs - 1; a run is a longest stretch of cells with one behaviour (teacher, both, student with silence), "
        "within the window",
        denominator="cells",
        sample="cells",
        exists=_WHEN_SAMPLED,
        windows=_TALK_WINDOWS,
        direction="context",
        events=_SPEECH,
        source=_ST,
    ),
    Metric(
        name="st_mode",
        number=2,
        chinese="S-T 教学模式",
        english="lessons in an S-T mode",
        family="classroom",
        module="talk",
        unit="share",
        highest=1.0,
        numerator="1 if the lesson has the mode: Rt up to 0.3 practice, Rt from 0.7 lecture, else Ch from 0.4 dialogue, "
        "else mixed; otherwise 0",
        denominator="1; 0 without any cell",
        sample="cells",
        exists="for each of the four modes when a `speech.recorded` is stored",
        windows=(WINDOW_LESSON,),
        direction="context",
        events=_SPEECH,
        item="the mode: practice (练习型), lecture (讲授型), dialogue (对话型), mixed (混合型)",
        source=_ST,
    ),
    _talk_share("teacher_talk_share", "教师语言比例", "teacher talk", "1 to 7"),
    _talk_share("student_talk_share", "学生语言比例", "student talk", "8 or 9"),
    _talk_share("silence_share", "沉寂比例", "silence", "10"),
    _talk_ratio(
        "pupil_initiation_ratio",
        "学生自发比例",
        "talk that students begin",
        "cells with code 9",
        "cells with code 8 or 9",
    ),
    _talk_ratio(
        "question_ratio",
        "教师提问比例",
        "questions among questions and lecturing",
        "cells with code 4",
        "cells with code 4 or 5",
    ),
    _talk_ratio(
        "teacher_response_ratio",
        "教师回应比例",
        "encouraging among encouraging and directing",
        "cells with code 1, 2 or 3",
        "cells with code 1, 2, 3, 6 or 7",
    ),
)
