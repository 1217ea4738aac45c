"""The metrics of a lesson (智慧课堂), numbers 1 to 15. Key: the lesson.

What all of them share. **Lesson so far**: from the earliest ``lesson.started`` (without one: the earliest event) to the
lesson's end. **End**: the latest ``lesson.ended``, whatever its time. A lesson that never ends ends at its latest
event, but at the latest 30 minutes (``LESSON_GRACE_US``) after its scheduled end, if it has a timetable. **Timetable**:
that of ``lesson.started``; one that ends before it starts, or more than 12 hours (``LONGEST_LESSON_US``) later, counts
as none. **Presence** of a student: from ``joined`` to the next ``left`` or the lesson's end (without ``lesson.ended``:
the latest end possible); a repeated joined or left has no effect, nor has a left before any joined; at one instant left
comes before joined. **Present** in a window: at any moment of it. **Several lesson.started**: of each school and class
the earliest (by time, source, id) counts; their rosters join (双师, a dual-teacher lesson in two schools), and teacher
and timetable are those of the earliest of all. **Class**: the students of the rosters; of a lesson without any, all.
Others are guests: they have rows of their own (``student_lesson``), and count in no metric of the class. **Without
attendance**, that is without any ``joined``, nobody is absent: whoever is on the roster counts as one who may take
part, and what is taken per minute of presence is NULL. **In the lesson so far**: from the earliest ``lesson.started``
to ``lesson.ended`` or the latest end possible; what happens outside counts in the hopping windows alone. **Answers
count** until their question closes (the latest ``question.closed``) or the lesson ends. **Place**: each school and
class that starts a lesson in several places (双师). The metrics of a class have the window ``place`` there, with the
item ``school/class``: those of the lesson with that class's roster as the only one. Roll-ups take them, so that each
class counts with its own students; speech, strategies, tools and punctuality count where the lesson was started first,
where the teacher is. A student counts in the class that names them.
"""
