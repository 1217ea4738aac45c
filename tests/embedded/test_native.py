"""Native results for clients that name their protocol's version, as the Go client and Grafana's plugin do."""

from __future__ import annotations

import pytest

from deploy.local.clickhouse.native_columns import end_of_column, variable_integer

from .wire import READER, Http

CURRENT = 54_460
INFORMATION = b"\x01\x00\x02\xff\xff\xff\xff\x00"
TYPES = (
    "Bool",
    "UInt8",
    "Int16",
    "UInt32",
    "Int64",
    "UInt128",
    "Int256",
    "Float32",
    "Float64",
    "Date",
    "Date32",
    "DateTime",
    "DateTime('Asia/Shanghai')",
    "DateTime64(3, 'Asia/Shanghai')",
    "UUID",
    "IPv4",
    "IPv6",
    "Enum8('a, b(' = 1, 'LowCardinality' = 2)",
    "Enum16('x' = 300)",
    "Decimal(9, 2)",
    "Decimal(18, 2)",
    "Decimal(38, 2)",
    "Decimal(76, 2)",
    "FixedString(7)",
    "String",
    "Nullable(String)",
    "Nullable(Decimal(9, 2))",
    "Array(String)",
    "Array(Array(Nullable(UInt8)))",
    "Map(String, Array(UInt16))",
    "Tuple(UInt8, String)",
    "Array(Tuple(a UInt8, `b c` String))",
    "Tuple(a DateTime('Asia/Shanghai'), b Tuple(c Enum8('(,' = 1), d String))",
    "LowCardinality(String)",
    "LowCardinality(Nullable(String))",
    "Array(LowCardinality(String))",
    "Map(LowCardinality(String), LowCardinality(FixedString(2)))",
    "Tuple(LowCardinality(String), Array(LowCardinality(FixedString(3))))",
    "Point",
    "Ring",
    "Polygon",
    "MultiPolygon",
    "SimpleAggregateFunction(max, UInt64)",
)


def columns_of(block: bytes) -> list[tuple[bytes, int, int]]:
    """The header and content of each column of a block as the engine writes it: name with type, begin, end."""
    count, place = variable_integer(block, 0)
    rows, place = variable_integer(block, place)
    found = []
    for _ in range(count):
        begin = place
        size, place = variable_integer(block, place)
        size, place = variable_integer(block, place + size)
        kind = block[place : place + size].decode()
        place += size
        end = end_of_column(block, place, kind, rows)
        found.append((block[begin:place], place, end))
        place = end
    assert place == len(block)
    return found


@pytest.mark.parametrize("rows", [1, 50])
def test_every_column_gets_its_byte(ch: Http, rows: int) -> None:
    """Of random values of every type, the current version differs from the oldest by information and a byte a column."""
    structure = ", ".join(f"c{number} {kind}" for number, kind in enumerate(TYPES))
    quoted = structure.replace("'", "\\'")
    ch("DROP TABLE IF EXISTS default.native")
    created = ch(f"CREATE TABLE default.native ({structure}) ENGINE = Memory")
    assert created.status == 200, created.text
    filled = ch(f"INSERT INTO default.native SELECT * FROM generateRandom('{quoted}', 1, 9, 3) LIMIT {rows}")
    assert filled.status == 200, filled.text
    plain = ch("SELECT * FROM default.native", default_format="Native", client_protocol_version=0).body
    expected = (
        INFORMATION + plain[:2] + b"".join(header + b"\x00" + plain[begin:end] for header, begin, end in columns_of(plain))
    )
    assert ch("SELECT * FROM default.native", default_format="Native", client_protocol_version=CURRENT).body == expected


def test_a_result_of_many_blocks(ch: Http) -> None:
    """Each block of a long result is framed."""
    sql = "SELECT number, toString(number) FROM numbers(200000) SETTINGS max_block_size = 65536"
    plain = ch(sql, user=READER, default_format="Native").body
    current = ch(sql, user=READER, default_format="Native", client_protocol_version=CURRENT).body
    blocks = current.count(INFORMATION)
    assert blocks >= 3
    assert len(current) == len(plain) + blocks * (len(INFORMATION) + 2)


def test_what_cannot_be_framed_is_said(ch: Http) -> None:
    """A column whose end cannot be told is refused with the remedy; the same column comes in other formats."""
    sql = "SELECT sumState(number) AS state FROM numbers(3)"
    answer = ch(sql, default_format="Native", client_protocol_version=CURRENT)
    assert (answer.status, answer.code) == (501, 48)
    assert "AggregateFunction(sum, UInt64)" in answer.text
    assert ch(sql, default_format="RowBinary", client_protocol_version=CURRENT).status == 200


def test_an_empty_result_is_empty(ch: Http) -> None:
    """No row, no block."""
    assert ch("SELECT 1 WHERE 0", default_format="Native", client_protocol_version=CURRENT).body == b""
