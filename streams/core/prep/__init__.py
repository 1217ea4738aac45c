"""Preparation metrics (备课) as pure functions of columns."""
