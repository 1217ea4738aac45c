"""The embedded stack: a Kafka broker and a ClickHouse engine as two local processes, loopback only."""
