"""How long the teacher waits after an oral question, and after its answer: metric 5."""

from typing import Final

from schemas.metrics.metric import SECOND_US, WINDOW_LESSON, Metric

__all__ = ["LONG_WAIT_US", "METRICS"]

#: From here on a wait is long (Rowe 1974).
LONG_WAIT_US: Final = 3 * SECOND_US

_EVENTS: Final = ("question.asked", "speech.recorded", "lesson.started", "lesson.ended")
_EXISTS: Final = "when an open `question.asked` and a `speech.recorded` are stored"
_SOURCE: Final = "Wait time (Rowe 1972, 1974, 1986), from the record of speech"
_MEDIAN: Final = "; the mean of the middle two where their number is even; 0 without any"

METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="wait_time_seconds",
        number=5,
        chinese="候答时间",
        english="wait time I: after an oral question",
        family="classroom",
        module="waiting",
        unit="seconds",
        highest=None,
        numerator="median over the open questions of the lesson (the earliest asking of each) of: next word of anybody - "
        "end of the question. The question ends when the teacher stops who speaks as it is asked, otherwise as it is "
        "asked; speech of the teacher that touches is one. 0 where others speak at that moment. Where nobody speaks any "
        "more, the wait lasts until the record of speech ends: at least so long did it last, and it counts with that; a "
        "question after the end of the record is left out" + _MEDIAN,
        denominator="1; 0 without any",
        sample="open questions with a wait",
        exists=_EXISTS,
        windows=(WINDOW_LESSON,),
        direction="higher",
        events=_EVENTS,
        source=_SOURCE,
        merge="values",
        quantile=0.5,
        parts="the waits in seconds, ascending",
    ),
    Metric(
        name="long_wait_share",
        number=5,
        chinese="充分候答比例",
        english="oral questions with enough wait time",
        family="classroom",
        module="waiting",
        unit="share",
        highest=1.0,
        numerator="waits of wait_time_seconds of at least 3 s",
        denominator="open questions with a wait",
        sample="the denominator",
        exists=_EXISTS,
        windows=(WINDOW_LESSON,),
        direction="higher",
        events=_EVENTS,
        source=_SOURCE,
    ),
    Metric(
        name="second_wait_time_seconds",
        number=5,
        chinese="理答候时",
        english="wait time II: after a student's answer",
        family="classroom",
        module="waiting",
        unit="seconds",
        highest=None,
        numerator="median over the open questions that a student answers aloud before the next one is asked of: next word "
        "of the teacher (alone or with students) after the answer begins - end of the last student who began before it, 0 "
        "where the teacher interrupts. Where the teacher says no more, the wait lasts until the record of speech "
        "ends" + _MEDIAN,
        denominator="1; 0 without any",
        sample="open questions with such a wait",
        exists=_EXISTS,
        windows=(WINDOW_LESSON,),
        direction="higher",
        events=_EVENTS,
        source=_SOURCE,
        merge="values",
        quantile=0.5,
        parts="the waits in seconds, ascending",
    ),
)
