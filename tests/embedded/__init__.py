"""Contract tests of the embedded stack: the broker, and ClickHouse's HTTP interface as unmodified clients see it."""
