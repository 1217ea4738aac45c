"""Metrics of preparation by the plainest loops."""
