"""Dead letters read back and replayed."""
