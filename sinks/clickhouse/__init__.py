"""ClickHouse over HTTP: the client with its retry rule, the answers, the migrations."""
