"""Questions and answers: metrics 5 to 7."""

from typing import Final

from schemas.metrics.classroom.lessons import PRESENCE_EVENTS
from schemas.metrics.metric import WINDOW_10M, WINDOW_LESSON, WINDOW_PLACE, WINDOW_PROMPT, Metric

__all__ = ["METRICS", "SKETCH_ACCURACY"]

#: Relative error of a quantile from the sketch: DDSketch (Masson, Rim and Lee 2019), buckets of ratio (1 + a) / (1 - a).
SKETCH_ACCURACY: Final = 0.01

_EVENTS: Final = ("question.asked", "question.closed", "answer.submitted", "lesson.started", "lesson.ended")
_ASKED: Final = "when a `question.asked` is stored"


def _latency(name: str, chinese: str, english: str, quantile: float) -> Metric:
    return Metric(
        name=name,
        number=7,
        chinese=chinese,
        english=english,
        family="classroom",
        module="questions",
        unit="milliseconds",
        highest=None,
        numerator=f"{quantile} quantile of `latency_ms` over the answers that count and have it, interpolated linearly "
        "between the two nearest (type 7 of Hyndman and Fan; NumPy's default); 0 without any",
        denominator="1; 0 without any",
        sample="answers that count and have `latency_ms`",
        exists="prompt: " + _ASKED + ". lesson: when an `answer.submitted` is stored",
        windows=(WINDOW_PROMPT, WINDOW_LESSON, WINDOW_PLACE),
        direction="context",
        events=_EVENTS,
        source="District catalogue, metric 7",
        merge="sketch",
        quantile=quantile,
        parts="lesson: a DDSketch of relative error 1 %: bucket, count, bucket, count ..., by bucket. Bucket i holds the "
        "latencies x (at least 1 ms) with i = ceil(ln x / ln(1.01 / 0.99)). prompt: nothing",
    )


METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="first_answer_seconds",
        number=5,
        chinese="首答用时",
        english="time to the fastest answer on a device",
        family="classroom",
        module="questions",
        unit="seconds",
        highest=None,
        numerator="median over the prompts asked in the lesson so far of: first answer that counts, at or after the "
        "question, - question (the earliest asking counts); prompts without such an answer are left out; the mean of the "
        "middle two where their number is even; 0 without any",
        denominator="1; 0 without any",
        sample="prompts with such an answer",
        exists=_ASKED,
        windows=(WINDOW_LESSON, WINDOW_PLACE),
        direction="context",
        events=_EVENTS,
        source="Ours; up to version 2 of the catalogue it was called the wait time, which it is not",
        merge="values",
        quantile=0.5,
        parts="the times in seconds, ascending",
    ),
    Metric(
        name="response_rate",
        number=6,
        chinese="应答率",
        english="students who answer a question",
        family="classroom",
        module="questions",
        unit="share",
        highest=1.0,
        numerator="prompt: distinct students whose answers count. 10m/1m and lesson: sum of the rates of the prompts asked "
        "in the window",
        denominator="prompt: students present at the moment it was asked (without attendance: the roster), and those who "
        "answered it. 10m/1m and lesson: number of those prompts (a prompt with nobody present and nobody answering is "
        "left out)",
        sample="the denominator",
        exists="prompt, lesson: when a `question.asked` is stored (asked twice: the earliest counts). 10m/1m: when any "
        "`question.asked` lies in the window. Until the questions asked in it close, it changes, whatever `closed` says",
        windows=(WINDOW_PROMPT, WINDOW_10M, WINDOW_LESSON, WINDOW_PLACE),
        direction="higher",
        events=("question.asked", "question.closed", "answer.submitted", *PRESENCE_EVENTS),
        source="Opportunity-to-respond research; Kounin's group alerting",
    ),
    _latency("answer_latency_p50_ms", "答题时延中位数", "time to answer, median", 0.5),
    _latency("answer_latency_p90_ms", "答题时延 90 分位", "time to answer, 90th percentile", 0.9),
    Metric(
        name="correct_rate",
        number=7,
        chinese="正确率",
        english="correct answers",
        family="classroom",
        module="questions",
        unit="share",
        highest=1.0,
        numerator="answers that count and are correct",
        denominator="answers that count and say whether they are",
        sample="the denominator",
        exists="prompt: " + _ASKED + ". lesson: when an `answer.submitted` is stored",
        windows=(WINDOW_PROMPT, WINDOW_LESSON, WINDOW_PLACE),
        direction="higher",
        events=_EVENTS,
        source="District catalogue, metric 7",
    ),
)
