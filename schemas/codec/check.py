"""Every rule of the models and of the envelope, on whole columns: which rows are events beyond doubt."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from schemas.codec.columns import ENVELOPE_COLUMNS, DataColumn, Kind, data_columns, event_columns, model_fields
from schemas.codec.records import ClockLimits, Record
from schemas.codec.times import timestamps_us
from schemas.codec.validate import EQUAL_TO_KEY
from schemas.events.consistency import CODES_OF_SPEAKER, LATE_ENDS_US, SCHEDULES_US, SPEECH
from schemas.events.envelope import SUPPORTED_MAJOR_VERSION, Envelope
from schemas.events.event_types import Family, type_uri
from schemas.events.fields import TIME_REACH_US

_Mask = npt.NDArray[np.bool_]
_Index = npt.NDArray[np.int32]
_Ints = npt.NDArray[np.int64]

#: A version of the supported major, plainly written; anything else is left to ``validate``.
_SUPPORTED_VERSION: Final = re.compile(rf"[:/]v?({SUPPORTED_MAJOR_VERSION}(?:\.[0-9]{{1,4}}){{0,2}})\Z")


@dataclass(frozen=True, slots=True)
class Table:
    """Records as read: ``rows`` of the batch, and their attributes and data fields (``data.<name>``) as ``columns``.

    ``suspect`` marks rows that cannot be events whatever their columns hold, such as those without a ``data`` object.
    An attribute that no record has may be left out.
    """

    rows: list[int]
    columns: pa.Table
    suspect: _Mask


def merged(tables: list[Table]) -> list[Table]:
    """Return two tables as one: most checks cost a few rows as much as many.

    More tables than two come of very long batches, for which a text column of Arrow, 2 GiB, might be too short.
    """
    if len(tables) != 2:
        return tables
    rows = [row for table in tables for row in table.rows]
    columns = pa.concat_tables([table.columns for table in tables], promote_options="default")
    return [Table(rows, columns, np.concatenate([table.suspect for table in tables]))]


@dataclass(frozen=True, slots=True)
class Accepted:
    """Rows that are events, as the events frame, and the rows that may be none."""

    events: pl.DataFrame
    doubted: list[int]


def accept(family: Family, records: Sequence[Record], table: Table, *, clock: ClockLimits, now_us: int) -> Accepted:
    """Return the rows of ``table`` that keep every rule of ``validate``, in columns, and the others to be asked."""
    rows, doubt = table.rows, table.suspect.copy()
    read = dict(zip(table.columns.column_names, map(_single, table.columns.columns), strict=True))
    attributes = {name: read[name] for name in Envelope.model_fields if name in read}
    times: dict[str, pa.Array] = {}
    for name, field in model_fields(Envelope).items():
        values = attributes.get(name)
        if field.required:
            _doubt_nulls(doubt, values)
        if values is None or values.null_count == len(values):
            continue
        if field.rule.kind is Kind.TIMESTAMP:
            times[name], wrong = timestamps_us(values)
            doubt |= wrong
        else:
            _add(doubt, field.rule.violations(values))
    if not {"type", "dataschema"} <= attributes.keys() or "time" not in times:
        return Accepted(pl.DataFrame(schema=event_columns(family)), rows)
    chosen = [records[row] for row in rows]
    types, names = _types(doubt, family, attributes["type"])
    versions = _versions(doubt, attributes["dataschema"])
    keys = _check_key(doubt, family, attributes, [record.key for record in chosen])
    time_us = times["time"].fill_null(0).to_numpy()
    _check_clock(doubt, time_us, [record.timestamp for record in chosen], clock, now_us)

    columns: dict[str, pa.Array | None] = {
        name: attributes.get(attribute) for name, (_, attribute) in ENVELOPE_COLUMNS.items() if attribute
    }
    columns["offset"] = pa.array([record.offset for record in chosen], pa.int64())
    columns["row"] = pa.array(rows, pa.uint32())
    columns["type"] = names
    columns["time_us"] = times["time"]
    columns["sequence"] = _sequences(doubt, attributes.get("sequence"))
    columns["recordedtime_us"] = times.get("recordedtime")
    columns["key"] = keys
    columns["schema_version"] = versions
    here = np.flatnonzero(np.bincount(types))
    for column in data_columns(family):
        values = _data_column(doubt, column, read[f"data.{column.name}"], types, here)
        if values is not None:
            columns[column.column] = values
            if column.is_timestamp:
                _check_reach(doubt, values, time_us)
    _check_consistency(doubt, family, types, columns, time_us)
    if "recordedtime" in times:
        _check_reach(doubt, times["recordedtime"], time_us)
    events = _frame(_assemble(family, columns, len(rows)))
    return Accepted(_in_order(events, doubt), [rows[index] for index in np.flatnonzero(doubt)])


def _single(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _in_order(events: pl.DataFrame, doubt: _Mask) -> pl.DataFrame:
    """Return the events that are not in doubt, by row, at the cost of one copy where one is needed."""
    rows = events["row"].to_numpy()
    order = np.argsort(rows, kind="stable") if (rows[1:] < rows[:-1]).any() else None
    if order is None:
        return events.filter(pl.Series(~doubt)) if doubt.any() else events
    return events[order[~doubt[order]]]


def _add(doubt: _Mask, mask: _Mask | None) -> None:
    if mask is not None:
        doubt |= mask


def _doubt_nulls(doubt: _Mask, values: pa.Array | None) -> None:
    if values is None:
        doubt |= True
    elif values.null_count:
        doubt |= values.is_null().to_numpy(zero_copy_only=False)


@cache
def _type_table(names: tuple[str, ...]) -> tuple[pa.Array, pa.Array]:
    return pa.array([type_uri(name) for name in names]), pa.array(names)


def _types(doubt: _Mask, family: Family, types: pa.Array) -> tuple[_Index, pa.Array]:
    """Return the position of each type in ``Family.models`` (0 for an unknown one, which is doubted), and its name."""
    uris, names = _type_table(tuple(family.models))
    index = pc.index_in(types, value_set=uris)
    if index.null_count:
        doubt |= index.is_null().to_numpy(zero_copy_only=False)
        index = index.fill_null(0)
    return index.to_numpy(), names.take(index)


def _versions(doubt: _Mask, dataschemas: pa.Array) -> pa.Array:
    """Return the version that ends each of ``dataschemas``; a batch has few different ones."""
    encoded = dataschemas.dictionary_encode()
    found = [_SUPPORTED_VERSION.search(text) for text in encoded.dictionary.to_pylist()]
    versions = pa.array([match.group(1) if match else None for match in found], pa.string()).take(encoded.indices)
    _doubt_nulls(doubt, versions)
    return versions


def _sequences(doubt: _Mask, texts: pa.Array | None) -> pa.Array | None:
    if texts is None or texts.null_count == len(texts):
        return None
    if doubt.any():
        texts = pc.if_else(pa.array(doubt), None, texts)
    return texts.cast(pa.int64())


def _check_key(doubt: _Mask, family: Family, attributes: dict[str, pa.Array], keys: list[bytes | None]) -> pa.Array:
    """Return the partition keys: what ``partitionkey`` says, and where it is absent, the record key."""
    partition_key = attributes.get("partitionkey")
    key_array = pa.array(keys, pa.binary())
    if partition_key is None or partition_key.null_count:
        said = text_column(keys, doubt)
        partition_key = said if partition_key is None else pc.coalesce(partition_key, said)
        _doubt_nulls(doubt, partition_key)
        _add(doubt, model_fields(Envelope)["partitionkey"].rule.violations(partition_key))
    expected = partition_key.cast(pa.binary())
    if not key_array.equals(expected):
        same = pc.fill_null(pc.equal(key_array, expected), fill_value=False)
        doubt |= ~same.to_numpy(zero_copy_only=False)
    for attribute in EQUAL_TO_KEY[family.name]:
        values = attributes.get(attribute)
        if values is not None and not values.equals(partition_key):
            differs = pc.fill_null(pc.not_equal(values, partition_key), fill_value=False)
            doubt |= differs.to_numpy(zero_copy_only=False)
    return partition_key


def text_column(values: list[bytes | None], suspect: _Mask) -> pa.Array:
    """Return ``values`` as text; one that is not UTF-8 becomes null and its row suspect."""
    try:
        return pa.array(values, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        texts = [_text(value) for value in values]
    array = pa.array(texts, pa.string())
    suspect |= array.is_null().to_numpy(zero_copy_only=False)
    return array


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _check_reach(doubt: _Mask, values: pa.Array, time_us: _Ints) -> None:
    far = np.abs(values.fill_null(0).to_numpy() - time_us) > TIME_REACH_US
    doubt |= values.is_valid().to_numpy(zero_copy_only=False) & far


def _check_consistency(
    doubt: _Mask, family: Family, types: _Index, columns: dict[str, pa.Array | None], time_us: _Ints
) -> None:
    """Doubt every event whose fields contradict each other, as ``schemas/events/consistency.py`` says."""
    for number, name in enumerate(family.models):
        if name in SCHEDULES_US:
            start_us, end_us = columns.get("scheduled_start_us"), columns.get("scheduled_end_us")
            if start_us is not None and end_us is not None:
                length_us = end_us.fill_null(0).to_numpy() - start_us.fill_null(0).to_numpy()
                doubt |= (types == number) & ((length_us <= 0) | (length_us > SCHEDULES_US[name]))
        if name in LATE_ENDS_US and (end_us := columns.get("lesson_end_us")) is not None:
            doubt |= (types == number) & (end_us.fill_null(0).to_numpy() - time_us > LATE_ENDS_US[name])
        if (
            name == SPEECH
            and (code := columns.get("fias_code")) is not None
            and (said := columns.get("speaker")) is not None
        ):
            for speaker, codes in CODES_OF_SPEAKER.items():
                other = pc.and_(pc.equal(said, speaker), pc.invert(pc.is_in(code, pa.array(codes, pa.int64()))))
                spoken = pc.and_(other, pc.is_valid(code)).fill_null(fill_value=False)
                doubt |= (types == number) & spoken.to_numpy(zero_copy_only=False)


def _check_clock(doubt: _Mask, time_us: _Ints, timestamps_ms: list[int], clock: ClockLimits, now_us: int) -> None:
    stamped_ms = np.array(timestamps_ms, dtype=np.int64)
    # Compared in milliseconds first, so that no timestamp overflows.
    past = (stamped_ms >= 0) & (stamped_ms <= now_us // 1000)
    received_us = np.where(past, np.where(past, stamped_ms, 0) * 1000, now_us)
    doubt |= (time_us < clock.earliest_us) | (time_us > received_us + clock.max_ahead_us)


def _data_column(
    doubt: _Mask, column: DataColumn, values: pa.Array, types: _Index, here: npt.NDArray[np.intp]
) -> pa.Array | None:
    """Check one data field against the types that declare it; returns its stored values, None if there are none.

    ``here`` are the different ones of ``types``.
    """
    if values.null_count == len(values):
        if column.required[here].any():
            doubt |= column.required.take(types)
        return None
    present = values.is_valid().to_numpy(zero_copy_only=False)
    if column.required[here].any():
        doubt |= column.required.take(types) & ~present
    undeclared = present & ~column.declared.take(types)
    if undeclared.any():
        values = pc.if_else(pa.array(undeclared), None, values)
    for rule, holds in column.rules:
        # Where there is but one rule, it holds for all that declare the field, and the others are null by now.
        bound = values if len(column.rules) == 1 else pc.if_else(pa.array(holds.take(types)), values, None)
        _add(doubt, rule.violations(bound))
    if column.is_timestamp:
        values, wrong = timestamps_us(values)
        doubt |= wrong
    elif column.kind is Kind.FLOAT:
        values = pc.add(values, 0.0)
    elif column.kind is Kind.FLOATS:
        values = _unsigned_zeros(values)
    return values


def _unsigned_zeros(lists: pa.Array) -> pa.Array:
    """Return ``lists`` with -0.0 as 0.0, as the other floats are stored."""
    if not np.signbit(lists.flatten().to_numpy(zero_copy_only=False)).any():
        return lists
    # Item by item: -0.0 is rare, and an addition of 0.0 is optimised away in Polars.
    eased = [
        None if items is None else [None if item is None else item + 0.0 for item in items] for items in lists.to_pylist()
    ]
    return pa.array(eased, lists.type)


def _assemble(family: Family, columns: dict[str, pa.Array | None], rows: int) -> pa.Table:
    arrays = {}
    for name, dtype in event_columns(family).items():
        values = columns.get(name)
        arrays[name] = pa.nulls(rows, _arrow_type(dtype)) if values is None else values
    return pa.table(arrays)


_ARROW_TYPES: Final = {
    pl.String(): pa.string(),
    pl.Int64(): pa.int64(),
    pl.UInt32(): pa.uint32(),
    pl.Float64(): pa.float64(),
    pl.Boolean(): pa.bool_(),
    pl.List(pl.String()): pa.list_(pa.string()),
    pl.List(pl.Float64()): pa.list_(pa.float64()),
}


def _arrow_type(dtype: pl.DataType) -> pa.DataType:
    return _ARROW_TYPES[dtype]


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError(type(frame))
    return frame
