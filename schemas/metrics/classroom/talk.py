"""Who speaks: metrics 1 to 4."""

from typing import Final

from schemas.metrics.metric import WINDOW_10M, WINDOW_LESSON, Metric

__all__ = ["METRICS"]

_SPEECH: Final = ("speech.recorded",)
_TALK_WINDOWS: Final = (WINDOW_10M, WINDOW_LESSON)
_WHEN_SAMPLED: Final = "when a `speech.recorded` lies in the window"
_WHEN_CODED: Final = "when a `speech.recorded` with a FIAS code lies in the window"
_ST: Final = "S-T analysis (Fujita 1988); one `speech.recorded` is one sample, whatever its length"
_FIAS: Final = "Flanders' interaction analysis (Flanders 1970); one `speech.recorded` is one sample"


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
        numerator=f"samples with FIAS code {codes}",
        denominator="samples with a FIAS code",
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
        numerator="samples of the speaker teacher + half of those of both",
        denominator="samples",
        sample="samples",
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
        numerator="runs - 1; a run is a longest stretch of samples with one speaker (teacher, student, both, silence), by "
        "time, source and id, within the window",
        denominator="samples",
        sample="samples",
        exists=_WHEN_SAMPLED,
        windows=_TALK_WINDOWS,
        direction="context",
        events=_SPEECH,
        source=_ST,
    ),
    _talk_share("teacher_talk_share", "教师语言比例", "teacher talk", "1 to 7"),
    _talk_share("student_talk_share", "学生语言比例", "student talk", "8 or 9"),
    _talk_share("silence_share", "沉寂比例", "silence", "10"),
    _talk_ratio(
        "pupil_initiation_ratio",
        "学生自发比例",
        "talk that students begin",
        "samples with code 9",
        "samples with code 8 or 9",
    ),
    _talk_ratio(
        "question_ratio",
        "教师提问比例",
        "questions among questions and lecturing",
        "samples with code 4",
        "samples with code 4 or 5",
    ),
    _talk_ratio(
        "teacher_response_ratio",
        "教师回应比例",
        "encouraging among encouraging and directing",
        "samples with code 1, 2 or 3",
        "samples with code 1, 2, 3, 6 or 7",
    ),
)
