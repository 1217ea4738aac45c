"""Independent recomputation of what is stored, and the accounting invariants."""
