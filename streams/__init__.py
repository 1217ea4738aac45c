"""How events move: from Kafka through the pipeline to the sinks."""
