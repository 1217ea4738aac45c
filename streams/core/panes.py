"""Panes and the windows merged from them.

A pane is the smallest slice of event time a figure is kept in; a window is a run of panes. Both are half-open and
aligned to the Unix epoch, so an event exactly on a boundary belongs to the later one.
"""

import polars as pl

from schemas.figures import Window


def pane_of(time_us: pl.Expr, length_us: int) -> pl.Expr:
    """Start, in microseconds, of the pane that holds ``time_us``."""
    return time_us // length_us * length_us


def windows_of(panes: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Return one row for every window a pane belongs to.

    ``panes`` has a column ``pane_us``; the result has all its columns and ``start_us``, the start of the window.
    A pane of ``window.size_us / window.hop_us`` windows gives as many rows.
    """
    newest = pane_of(pl.col("pane_us"), window.hop_us)
    hops = range(0, window.size_us, window.hop_us)
    return pl.concat([panes.with_columns(start_us=newest - back_us) for back_us in hops])
