"""Measures what cannot be waited for: how quickly a term's metrics answer."""
