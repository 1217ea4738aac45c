"""Panes and the windows merged from them.

A pane is the smallest slice of event time a figure is kept in; a window is a run of panes. Both are half-open and
aligned to the Unix epoch, so an event exactly on a boundary belongs to the later one.
"""

import polars as pl

from schemas.metric import Window


def pane_of(time_us: pl.Expr, length_us: int) -> pl.Expr:
    """Start, in microseconds, of the pane that holds ``time_us``."""
    return time_us // length_us * length_us


def windows_of(panes: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Return one row for every window a pane belongs to.

    ``panes`` has a column ``pane_us``; the result has all its columns and ``start_us``, the start of the window.
    A pane of ``window.size_us / window.hop_us`` windows gives as many rows.
    """
    newest = pane_of(pl.col("pane_us"), window.hop_us)
    hops = pl.DataFrame({"back_us": range(0, window.size_us, window.hop_us)}, schema={"back_us": pl.Int64})
    return panes.join(hops, how="cross").with_columns(start_us=newest - pl.col("back_us")).drop("back_us")
