"""The metrics of a teaching-research activity (教研), numbers 22 to 27. Key: the activity.

**Scheduled time** is that of the earliest ``activity.published`` (by time, source, id). **Presence** of a teacher goes
from ``joined`` to the next ``left``; a repeated joined or left has no effect. The bounds of every row are the scheduled
start and end; without an ``activity.published`` they are the earliest and the latest event. Over 28 days and a term the
rows of the activities scheduled to end there are merged.
"""
