"""Where events and metrics land: ClickHouse and the dead-letter topic."""
