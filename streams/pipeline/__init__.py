"""The main path: from a batch of Kafka records to queryable metrics."""
