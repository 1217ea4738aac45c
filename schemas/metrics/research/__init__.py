"""The metrics of a teaching-research activity (教研), numbers 22 to 27. Key: the activity.

**Scheduled time** is that of the earliest ``activity.published`` (by time, source, id); one that ends before it starts,
or more than 7 days (``LONGEST_ACTIVITY_US``) later, counts as none. **Presence** of a teacher goes from ``joined`` to
the next ``left``, or to the scheduled end where there is none; a repeated joined or left has no effect. **Attended** is
presence from 30 minutes (``MARGIN_US``) before the scheduled start to 30 minutes after the scheduled end: an activity
that begins late costs nobody. Who attended **took part**; without a scheduled time, who joined. The bounds of every row
are the scheduled start and end; without them they are the earliest and the latest event. Over 28 days and a term the
rows of the activities that end there are merged. **Schools**: the metrics of an activity belong to the school of its
host (of one that nobody announced: to the first school that its events name), those of what a teacher did in it to the
school where the teacher is registered; so the research metrics of a school are of the activities that it hosts, and its
``teacher_`` metrics of its own teachers, wherever they took part.
"""
