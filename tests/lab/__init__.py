"""The laboratory: chaos, measurements, benchmarks and fuzzing."""
