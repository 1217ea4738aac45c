"""Scores and portraits as pure functions of observations."""
