"""Panes and the windows merged from them.

A pane is the smallest slice of event time a metric is kept in; a window is a run of panes. Both are half-open and
aligned to the Unix epoch, so an event exactly on a boundary belongs to the later one.
"""

from functools import cache

import polars as pl

from schemas.metrics.metric import Window
from streams.core.codes import pair


def pane_of(time_us: pl.Expr, length_us: int) -> pl.Expr:
    """Start, in microseconds, of the pane that holds ``time_us``."""
    return time_us // length_us * length_us


def pane_code(key: str, start_us: pl.Expr, length_us: int) -> pl.Expr:
    """Return one number for the code ``key`` and a pane's start, in the order of both.

    Grouping, sorting and joining by one number costs a fraction of doing it by two.
    """
    return pair(pl.col(key), start_us // length_us)


def windows_of(panes: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Return one row for every window a pane belongs to.

    ``panes`` has a column ``pane_us``; the result has all its columns and ``start_us``, the start of the window.
    A pane of ``window.size_us / window.hop_us`` windows gives as many rows.
    """
    newest = pane_of(pl.col("pane_us"), window.hop_us)
    placed = panes.join(_hops(window), how="cross")
    return placed.select(*panes.columns, start_us=newest - pl.col("back_us"))


def windows_at(panes: pl.DataFrame, *windows: Window, by: str = "key") -> pl.DataFrame:
    """Return the windows that the panes belong to, each once.

    ``panes`` has ``pane_us`` and ``key``; the windows are those of each value of ``by``, which tells the key. The result
    has ``key, slot_us, window_start_us, window_end_us`` and ``by``. All ``windows`` must have one hop.
    """
    who = list(dict.fromkeys(["key", by]))
    hops = panes.select(*who, hop_us=pane_of(pl.col("pane_us"), windows[0].hop_us)).unique().sort(by, "hop_us")
    before_us = pl.when(pl.col(by).eq_missing(pl.col(by).shift(1))).then(pl.col("hop_us").shift(1))
    start_us = pl.col("hop_us") - pl.col("back_us")
    return (
        hops.with_columns(before_us=before_us)
        .join(_hops(*windows), how="cross")
        # A window that begins no later than the hop before holds that one too, and is its.
        .filter(pl.col("before_us").is_null() | (start_us > pl.col("before_us")))
        .select(*who, slot_us=start_us, window_start_us=start_us, window_end_us=start_us + pl.col("size_us"))
    )


@cache
def _hops(*windows: Window) -> pl.DataFrame:
    """Return how long before a pane's hop its windows begin (``back_us``), and their size (``size_us``)."""
    rows = [(back_us, window.size_us) for window in windows for back_us in range(0, window.size_us, window.hop_us)]
    return pl.DataFrame(rows, schema={"back_us": pl.Int64, "size_us": pl.Int64}, orient="row")
