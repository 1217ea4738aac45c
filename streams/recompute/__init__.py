"""Rebuilding stored metrics after a formula changed."""
