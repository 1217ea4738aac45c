"""The checkpoint protocol as a model: real pipeline, stores in memory, and a machine that interleaves them."""
