"""The columnar codec against the one-by-one validator: the same verdict, reason and values on every record."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.codec.decode import decode, event_columns, event_values
from schemas.codec.validate import Event, faults, validate
from schemas.codec.validate_read import Fault
from schemas.events.event_types import FAMILIES, Family
from tests.property.codec_records import CLOCK, NOW_US, TRICKS, VALUE_LIMIT_BYTES, KafkaRecord, build

BATCH_RECORDS = 120
BATCHES = 100

recipes = st.tuples(st.integers(0, 30), st.sampled_from(TRICKS), st.integers(0, 2**32))


@settings(
    max_examples=BATCHES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
)
@given(st.sampled_from(FAMILIES), st.lists(recipes, min_size=BATCH_RECORDS, max_size=BATCH_RECORDS))
def test_columns_and_validator_give_the_same_verdict_reason_and_values(
    family: Family, batch: list[tuple[int, str, int]]
) -> None:
    """On valid events and on every trick, in batches, ``decode`` and ``validate`` agree in everything."""
    agree(family, [build(family, 3 * index, recipe) for index, recipe in enumerate(batch)])


@settings(max_examples=300)
@given(st.sampled_from(FAMILIES), st.lists(recipes, min_size=1, max_size=4))
def test_they_agree_on_small_batches_too(family: Family, batch: list[tuple[int, str, int]]) -> None:
    """A record is judged alike with few neighbours, which shows faults that a long batch would hide."""
    agree(family, [build(family, index, recipe) for index, recipe in enumerate(batch)])


@settings(max_examples=25)
@given(st.sampled_from(FAMILIES), st.integers(0, 2**32))
def test_valid_events_of_every_type_are_accepted(family: Family, seed: int) -> None:
    """What the models allow is accepted, so that agreement is not agreement in rejecting everything."""
    records = [
        replace(build(family, index, (index, "none", seed + index)), timestamp=-1)
        for index in range(len(family.models) * 2)
    ]
    assert decode(family, records, clock=CLOCK, now_us=NOW_US).rejects == []
    agree(family, records)


def agree(family: Family, records: list[KafkaRecord]) -> None:
    """Compare ``decode``, ``validate`` and the first of ``faults`` in verdict, reason, field, detail and values."""
    decoded = decode(family, records, clock=CLOCK, now_us=NOW_US, max_value_bytes=VALUE_LIMIT_BYTES)
    verdicts = [
        validate(family, record, row, clock=CLOCK, now_us=NOW_US, max_value_bytes=VALUE_LIMIT_BYTES)
        for row, record in enumerate(records)
    ]
    for record, verdict in zip(records, verdicts, strict=True):
        found = faults(family, record, clock=CLOCK, now_us=NOW_US, max_value_bytes=VALUE_LIMIT_BYTES)
        decisive = [] if isinstance(verdict, Event) else [Fault(verdict.reason, verdict.field, verdict.detail)]
        assert found[:1] == decisive
    assert decoded.rejects == [verdict for verdict in verdicts if not isinstance(verdict, Event)]
    expected = [event_values(family, verdict) for verdict in verdicts if isinstance(verdict, Event)]
    assert list(decoded.events.schema.items()) == list(event_columns(family).items())
    # repr tells 0.0 from -0.0.
    assert [repr(list(row)) for row in decoded.events.iter_rows()] == [repr(row) for row in expected]
