"""Where events and figures land: ClickHouse and the dead-letter topic."""
