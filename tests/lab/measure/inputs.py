"""What is measured with: the simulator's lessons, as many at once as asked for, on as many devices."""

from collections.abc import Iterator
from datetime import date
from typing import Final
from zlib import crc32

from deploy.local.simulator import Produced, Simulation, SimulationConfig

__all__ = ["lessons_at_once", "on_more_devices", "shape_of"]

#: What the simulator can do: schools, and classes a school.
_MOST_SCHOOLS: Final = 99
_CLASSES: Final = (15, 20, 30, 40, 50, 60)
_TYPE: Final = b'","type":"'
#: Students bring a pen or a clicker beside their tablet; a room has a recorder, a board, cameras, sensors.
_OF_A_TABLET: Final = 2
_OF_A_TERMINAL: Final = 9


def shape_of(lessons: int) -> tuple[int, int]:
    """Return schools and classes a school that hold so many lessons at once; raises ``ValueError`` if nothing fits."""
    for classes in _CLASSES:
        schools, rest = divmod(lessons, classes)
        if 1 <= schools <= _MOST_SCHOOLS and not rest:
            return schools, classes
    raise ValueError(
        f"{lessons} lessons at once cannot be simulated; give a multiple of one of {_CLASSES}, with at most "
        f"{_MOST_SCHOOLS} schools, such as 810 or 3000"
    )


def lessons_at_once(lessons: int, students: int, seed: int, day: date | None = None) -> Iterator[Produced]:
    """Yield the records of a school day with so many lessons in every slot; all of one slot are open together.

    ``students``: in each class. Nothing is disturbed: every record is an event to store.
    """
    schools, classes = shape_of(lessons)
    config = SimulationConfig(
        seed=seed,
        days=1,
        date=day,
        schools=schools,
        classes_per_school=classes,
        students_per_class=students,
        families=("classroom",),
        binary_share=0.0,
        dual_teacher_share=0.0,
    )
    return Simulation(config).records()


def on_more_devices(records: Iterator[Produced]) -> Iterator[Produced]:
    """Yield structured records with their sources split: a tablet's into two devices, a terminal's into nine."""
    for record in records:
        head, kind, rest = (record.value or b"").partition(_TYPE)
        if b"/tablet-" in head:
            number = crc32(head) % _OF_A_TABLET
        elif b"/terminal-" in head:
            number = crc32(head) % _OF_A_TERMINAL
        else:
            number = 0
        yield record._replace(value=b"%b.%d%b%b" % (head, number, kind, rest))
