"""The evaluator, and what explains its scores."""
