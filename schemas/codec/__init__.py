"""From the bytes of Kafka records to columns of events, or to the reason why a record is rejected."""
