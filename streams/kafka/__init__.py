"""Everything that speaks to Kafka: transport, access, topics, rights, the dead-letter topic."""
