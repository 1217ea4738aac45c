"""The benchmark: classpulse, the bare client's ceiling and the peers on the same records of the same broker, in one run."""
