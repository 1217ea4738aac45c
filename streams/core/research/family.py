"""Research metrics (教研) out of the stored events of the activities concerned. Formulas: ``schemas/metrics/research``.

One module a group of metrics; this one says in which order.
"""

import polars as pl

from streams.core.codes import spelled
from streams.core.research import feedback, meetings, participants
from streams.core.research.activities import read
from streams.core.rows import joined

#: The columns of a stored event that the metrics need, besides those every event has.
CACHED_COLUMNS = (
    "schoolid",
    "teacher_id",
    "invited",
    "scheduled_start_us",
    "scheduled_end_us",
    "feedback_id",
    "lesson_end_us",
    "report_id",
    "improvement_id",
)


def rows(cached: pl.DataFrame) -> pl.DataFrame:
    """Return the metric rows of the activities in ``cached``, which holds every stored event of each."""
    activities = read(spelled(cached))
    return joined([*meetings.rows(activities), *feedback.rows(activities), participants.rows(activities)])
