"""Questions and answers: metrics 5 to 7."""

from typing import Final

from schemas.metrics.classroom.lessons import PRESENCE_EVENTS
from schemas.metrics.metric import SECOND_US, WINDOW_10M, WINDOW_LESSON, WINDOW_PROMPT, Metric

__all__ = ["LONG_WAIT_US", "METRICS", "SKETCH_ACCURACY"]

#: From here on a wait is long (Rowe 1974).
LONG_WAIT_US: Final = 3 * SECOND_US
#: Relative error of a quantile from the sketch: DDSketch (Masson, Rim and Lee 2019), buckets of ratio (1 + a) / (1 - a).
SKETCH_ACCURACY: Final = 0.01

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
        numerator=f"{quantile} quantile of `latency_ms` over the answers that have it, interpolated linearly between the "
        "two nearest (type 7 of Hyndman and Fan; NumPy's default); 0 without any",
        denominator="1; 0 without any",
        sample="answers with `latency_ms`",
        exists="prompt: " + _ASKED + ". lesson: when an `answer.submitted` is stored",
        windows=(WINDOW_PROMPT, WINDOW_LESSON),
        direction="context",
        events=("question.asked", "answer.submitted"),
        source="District catalogue, metric 7",
        merge="sketch",
        quantile=quantile,
        parts="lesson: a DDSketch of relative error 1 %: bucket, count, bucket, count ..., by bucket. Bucket i holds the "
        "latencies x (at least 1 ms) with i = ceil(ln x / ln(1.01 / 0.99)). prompt: nothing",
    )


METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="wait_time_seconds",
        number=5,
        chinese="候答时间",
        english="wait time after a question",
        family="classroom",
        module="questions",
        unit="seconds",
        highest=None,
        numerator="median over the prompts of: first answer at or after the question - question (the earliest asking "
        "counts); prompts without such an answer are left out; the mean of the middle two where their number is even; 0 "
        "without any",
        denominator="1; 0 without any",
        sample="prompts with such an answer",
        exists=_ASKED,
        windows=(WINDOW_LESSON,),
        direction="higher",
        events=("question.asked", "answer.submitted"),
        source="Wait time (Rowe 1974)",
        merge="values",
        quantile=0.5,
        parts="the waits in seconds, ascending",
    ),
    Metric(
        name="long_wait_share",
        number=5,
        chinese="充分候答比例",
        english="questions with enough wait time",
        family="classroom",
        module="questions",
        unit="share",
        highest=1.0,
        numerator="waits of at least 3 s",
        denominator="prompts with a wait",
        sample="prompts with a wait",
        exists=_ASKED,
        windows=(WINDOW_LESSON,),
        direction="higher",
        events=("question.asked", "answer.submitted"),
        source="Wait time (Rowe 1974)",
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
        numerator="prompt: distinct students who answered it, at any time. 10m/1m and lesson: sum of the rates of the "
        "prompts asked in the window",
        denominator="prompt: students present at the moment it was asked, and those who answered it. 10m/1m and lesson: "
        "number of those prompts (a prompt with nobody present and nobody answering is left out)",
        sample="the denominator",
        exists="prompt, lesson: when a `question.asked` is stored (asked twice: the earliest counts). 10m/1m: when any "
        "`question.asked` lies in the window",
        windows=(WINDOW_PROMPT, WINDOW_10M, WINDOW_LESSON),
        direction="higher",
        events=("question.asked", "answer.submitted", *PRESENCE_EVENTS),
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
        numerator="answers that are correct",
        denominator="answers that say whether they are",
        sample="the denominator",
        exists="prompt: " + _ASKED + ". lesson: when an `answer.submitted` is stored",
        windows=(WINDOW_PROMPT, WINDOW_LESSON),
        direction="higher",
        events=("question.asked", "answer.submitted"),
        source="District catalogue, metric 7",
    ),
)
