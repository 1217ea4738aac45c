"""A batch of Kafka records of one topic partition to one table of events, plus the records that are none.

The way of a batch: tell the content mode by the headers, read all JSON in one call (``codec_read``), check every rule
of the models on whole columns, and hand the rows that fail any check to ``validate``, one by one. So a row is accepted
in columns only if ``validate`` would accept it with the same values, and ``validate`` alone rejects rows: it is the
contract. A property test holds the two together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.codec.check import Table, accept, merged, text_column
from schemas.codec.columns import (
    ENVELOPE_COLUMNS,
    data_arrow_fields,
    data_columns,
    envelope_arrow_fields,
    event_columns,
)
from schemas.codec.headers import HeaderFault, Layout, is_binary, layout
from schemas.codec.json_reader import read
from schemas.codec.records import ClockLimits, Decoded, Reason, Record, Reject
from schemas.codec.validate import Event, schema_version, validate
from schemas.events.envelope import Envelope
from schemas.events.event_types import Family
from schemas.events.fields import timestamp_us

__all__ = ["ClockLimits", "Decoded", "Reason", "Record", "Reject", "decode", "event_columns"]


@dataclass(slots=True)
class _Group:
    """Binary records whose headers have the same names in the same order: their rows and the headers' values."""

    layout: Layout
    modes: dict[bytes | None, bool | HeaderFault] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)
    headers: list[tuple[bytes | None, ...]] = field(default_factory=list)

    def mode(self, headers: tuple[bytes | None, ...]) -> bool | HeaderFault:
        """Return what ``is_binary`` does, remembered by content type, on which alone it depends."""
        content_types = self.layout.content_types
        content_type = headers[content_types[0]] if content_types else None
        known = self.modes.get(content_type)
        if known is None:
            if len(self.modes) >= MODES_REMEMBERED:
                self.modes.clear()
            known = self.modes[content_type] = is_binary(self.layout, headers)
        return known


#: Content types remembered for one batch and one sequence of header names; a fleet uses one or two.
MODES_REMEMBERED: Final = 64


def decode(
    family: Family,
    records: Sequence[Record],
    *,
    clock: ClockLimits,
    now_us: int,
    max_value_bytes: int = 1_048_576,
    log: str | None = None,
) -> Decoded:
    """Decode ``records`` of one topic partition of ``family``.

    ``now_us`` is the present in microseconds since the epoch; ``log`` is as for ``validate``. Raises nothing for any
    content of a record. The rows of ``events`` (columns: ``event_columns``) and of ``rejects`` are together the rows of
    ``records``, each exactly once.
    """
    structured, groups, doubted = _by_mode(records, max_value_bytes)
    tables: list[Table] = []
    if structured:
        tables += _read_structured(family, records, structured, doubted)
    if groups:
        tables += _read_binary(family, records, groups, doubted)

    frames = []
    for table in merged(tables):
        accepted = accept(family, records, table, clock=clock, now_us=now_us)
        frames.append(accepted.events)
        doubted += accepted.doubted

    events, rejects = [], []
    for row in sorted(doubted):
        verdict = validate(family, records[row], row, clock=clock, now_us=now_us, max_value_bytes=max_value_bytes, log=log)
        if isinstance(verdict, Event):
            events.append(event_values(family, verdict))
        else:
            rejects.append(verdict)
    if events or not frames:
        frames.append(pl.DataFrame(events, schema=event_columns(family), orient="row"))
    decoded = pl.concat(frames) if len(frames) > 1 else frames[0]
    if not decoded["row"].is_sorted():
        decoded = decoded.sort("row")
    return Decoded(decoded, rejects)


def _by_mode(records: Sequence[Record], max_value_bytes: int) -> tuple[list[int], list[_Group], list[int]]:
    """Return the rows of the structured records, the binary ones by their headers' names, and the rows to doubt at once."""
    groups: dict[tuple[str, ...], _Group] = {}
    structured: list[int] = []
    doubted: list[int] = []
    #: Headers of the last structured record: most others have the same.
    usual: Sequence[tuple[str, bytes]] | None = None
    for row, record in enumerate(records):
        value, found = record.value, record.headers
        if not value or len(value) > max_value_bytes:
            doubted.append(row)
        elif found == usual:
            structured.append(row)
        else:
            names, headers = zip(*found, strict=True) if found else ((), ())
            group = groups.get(names)
            if group is None:
                group = groups[names] = _Group(layout(names))
            mode = group.mode(headers)
            if mode is False:
                structured.append(row)
                usual = found
            elif mode is True:
                group.rows.append(row)
                group.headers.append(headers)
            else:
                doubted.append(row)
    return structured, [group for group in groups.values() if group.rows], doubted


def _read_structured(family: Family, records: Sequence[Record], rows: list[int], doubted: list[int]) -> list[Table]:
    fields = [*envelope_arrow_fields(), pa.field("data_base64", pa.string())]
    schema = pa.schema([*fields, pa.field("data", pa.struct(data_arrow_fields(family)))])
    tables = []
    for kept, table in read(schema, rows, [records[row].value or b"" for row in rows], doubted):
        suspect = table["data"].is_null().to_numpy()
        base64 = table["data_base64"]
        if base64.null_count < len(base64):
            suspect = suspect | base64.is_valid().to_numpy()
        tables.append(Table(kept, table.drop_columns("data_base64").flatten(), suspect))
    return tables


def _read_binary(family: Family, records: Sequence[Record], groups: list[_Group], doubted: list[int]) -> list[Table]:
    rows = [row for group in groups for row in group.rows]
    columns = _header_columns(groups)
    schema = pa.schema(data_arrow_fields(family))
    tables = []
    for kept, table in read(schema, rows, [records[row].value or b"" for row in rows], doubted):
        if len(kept) < len(rows):
            place = {row: index for index, row in enumerate(rows)}
            chosen = {name: [values[place[row]] for row in kept] for name, values in columns.items()}
        else:
            chosen = columns
        suspect = np.zeros(len(kept), dtype=np.bool_)
        attributes = {name: text_column(values, suspect) for name, values in chosen.items()}
        data = {f"data.{name}": values for name, values in zip(table.column_names, table.columns, strict=True)}
        tables.append(Table(kept, pa.table(attributes | data), suspect))
    return tables


def _header_columns(groups: list[_Group]) -> dict[str, list[bytes | None]]:
    """Return the attributes in the headers of all groups' records, one group after the other; null where absent."""
    columns: dict[str, list[bytes | None]] = {name: [] for name in Envelope.model_fields}
    for group in groups:
        by_header = list(zip(*group.headers, strict=True))
        indices = dict(group.layout.attributes)
        for name, values in columns.items():
            index = indices.get(name)
            values.extend(by_header[index] if index is not None else repeat(None, len(group.rows)))
    return columns


def event_values(family: Family, event: Event) -> list[Any]:
    """Return the event as a row of the events frame."""
    envelope = event.envelope
    values: dict[str, Any] = {
        name: getattr(envelope, attribute) for name, (_, attribute) in ENVELOPE_COLUMNS.items() if attribute
    }
    values.update(
        offset=event.offset,
        row=event.row,
        type=event.name,
        key=event.key,
        time_us=timestamp_us(envelope.time),
        sequence=None if envelope.sequence is None else int(envelope.sequence),
        recordedtime_us=None if envelope.recordedtime is None else timestamp_us(envelope.recordedtime),
        schema_version=schema_version(envelope.dataschema),
    )
    for column in data_columns(family):
        value = getattr(event.data, column.name, None)
        if value is not None:
            values[column.column] = timestamp_us(value) if column.is_timestamp else _unsigned_zero(value)
    return [values.get(name) for name in event_columns(family)]


def _unsigned_zero(value: Any) -> Any:
    """Return ``value`` with -0.0 as 0.0: JSON's ``-0`` would otherwise differ by the path it came."""
    if isinstance(value, list):
        return [_unsigned_zero(item) for item in value]
    return value + 0.0 if isinstance(value, float) else value
