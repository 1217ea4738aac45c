"""Metrics of teaching research by the plainest loops."""
