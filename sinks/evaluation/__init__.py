"""The tables that the evaluator writes and reads."""
