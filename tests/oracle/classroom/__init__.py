"""Metrics of a lesson by the plainest loops."""
