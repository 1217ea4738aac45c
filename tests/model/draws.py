"""What the machine draws: records to send, turns of workers, and how each call of a write ends."""

from dataclasses import dataclass

from hypothesis import strategies as st

from streams.pipeline.batch import TopicPartition
from tests.model.steps import GO, Order
from tests.model.vocabulary import KINDS, PLACES

#: How many fetches from another offset can be on their way when a worker seeks: see
#: ``streams.pipeline.partition.Partition.follow``.
STALE_FETCHES = 3

WORKERS = range(3)
#: A worker ends before the last owner takes over, by a crash, or after that owner has read everything.
OUTCOMES = ("finish", "die", "finish later")

seeds = st.integers(0, 999)
records_told = st.lists(st.tuples(st.sampled_from(KINDS), seeds), min_size=1, max_size=6)
stale_offsets = st.lists(st.integers(0, 12), max_size=STALE_FETCHES)
orders = st.one_of(
    st.just(GO),
    st.just(GO),
    st.builds(
        Order,
        share=st.sampled_from(["all", "all", "some", "none"]),
        then=st.sampled_from(["return", "return", "repeat", "crash"]),
        echo=st.booleans(),
        seed=seeds,
    ),
)


@dataclass(frozen=True)
class Turn:
    """What a worker does when it is its turn.

    The order, if it is in a write; otherwise a rebalance, with fetches from these offsets on their way; otherwise it
    reads so many records of a place, and may begin to write them.
    """

    worker: int
    place: TopicPartition
    records: int
    order: Order
    write: bool
    rebalance: list[int] | None


turns = st.lists(
    st.builds(
        Turn,
        st.sampled_from(WORKERS),
        st.sampled_from(PLACES),
        st.integers(1, 5),
        orders,
        st.booleans(),
        st.one_of(st.none(), st.none(), stale_offsets),
    ),
    min_size=1,
    max_size=8,
)
