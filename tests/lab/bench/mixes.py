"""What is read by everything that is measured: classroom events of the simulator, as clean or as rough as asked for."""

from collections.abc import Iterator
from typing import Final, Literal
from zlib import crc32

from deploy.local.simulator import Disturbance, Produced, SimulationConfig, simulate
from deploy.local.simulator.malformed import KINDS

__all__ = ["MIXES", "ROUGH", "TOPIC", "Mix", "records"]

Mix = Literal["plain", "rough"]
#: What each mix is, in words for people.
MIXES: Final[dict[Mix, str]] = {
    "plain": "in order, no repeats, nothing rejected",
    "rough": "three times the bytes, a fifth of the events in one lesson, 30 % late, 10 % duplicates, 1 % garbage",
}
TOPIC: Final = "classpulse.classroom"
ROUGH: Final = Disturbance(
    late_share=0.30,
    duplicate_share=0.10,
    malformed_share=0.01,
    # What goes to the wrong topic is nowhere where the others read.
    malformed_kinds=tuple(kind for kind in KINDS if kind != "wrong_topic"),
)
#: Every late event and every repeat is held back for its time, none cut short.
_PENDING_LIMIT: Final = 1_000_000
HOT_SHARE: Final = 0.2
#: A lesson begins and ends once, also the hot one.
_LIFE_OF_A_LESSON: Final = b"classroom.lesson."
#: Extension attributes that a gateway adds: allowed by CloudEvents, of no use to anybody here.
_EXTENSIONS: Final = (
    b',"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","tracestate":"'
    + b",".join(b"vendor%02d=%032x" % (number, number * 0x9E3779B97F4A7C15F39CC060) for number in range(22))
    + b'"}'
)


def records(mix: Mix, events: int, seed: int) -> Iterator[Produced]:
    """Yield exactly ``events`` records of the classroom topic in arrival order, all of them structured JSON.

    The same mix, seed and day give the same records. Each carries its outcome, so the account is exact.
    """
    disturbance = ROUGH if mix == "rough" else Disturbance()
    produced = simulate(
        SimulationConfig(
            seed=seed,
            events=events,
            families=("classroom",),
            binary_share=0.0,
            disturbance=disturbance,
            pending_limit=_PENDING_LIMIT,
        )
    )
    return _heavy_and_hot(produced) if mix == "rough" else produced


def _heavy_and_hot(produced: Iterator[Produced]) -> Iterator[Produced]:
    """Make the events larger and move a share of every lesson's into one; garbage stays the garbage it is."""
    hot: bytes | None = None
    for record in produced:
        if record.outcome == "dead_letter" or record.key is None or record.value is None:
            yield record
            continue
        hot = hot or record.key
        value, key = record.value[:-1] + _EXTENSIONS, record.key
        if _LIFE_OF_A_LESSON not in value and _is_hot(value):
            value, key = value.replace(key, hot), hot
        yield record._replace(key=key, value=value)


def _is_hot(value: bytes) -> bool:
    # By the id, so that a repeat goes where its original went.
    at = value.index(b'"id":"') + 6
    return crc32(value[at : value.index(b'"', at)]) < HOT_SHARE * 2**32
