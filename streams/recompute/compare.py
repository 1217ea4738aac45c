"""What to do with the rows of some keys, given what the formulas say now and what is stored. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from schemas.metrics.catalogue import CATALOGUE_VERSION

__all__ = ["Compared", "compared"]

#: What identifies a row, as the frames name it.
ROW_IDENTITY: Final = ("metric", "window", "key", "item", "slot_us")
#: Sums of floats depend on the order of adding; ``classpulse verify`` allows as much.
TOLERANCE: Final = 1e-9
_EXACT: Final = ("window_start_us", "window_end_us", "sample_size")
_FLOATS: Final = ("value", "numerator", "denominator")


@dataclass(frozen=True, slots=True)
class Compared:
    """``to_write`` are rows as ``MetricStore.upsert`` takes them; ``unexplained`` are stored rows, with ``applied``.

    ``counts`` gives rows by metric and by what they are, the names of ``streams.recompute.recompute.Counts``.
    """

    to_write: pl.DataFrame
    unexplained: pl.DataFrame
    counts: Mapping[tuple[str, str], int]


def compared(computed: pl.DataFrame, stored: pl.DataFrame) -> Compared:
    """Compare the rows computed now with the stored ones, of the same keys and metrics.

    ``computed`` has the columns of ``ROW_SCHEMA``, ``topic``, ``partition`` and ``revision``. ``stored`` has those of
    ``ROW_SCHEMA``, ``catalogue_version``, ``revision``, and ``applied``: the revision up to which events were read.
    """
    both = computed.join(stored.with_columns(there=True), on=ROW_IDENTITY, how="left", suffix="_stored")
    state = (
        pl.when(pl.col("there").is_null())
        .then(pl.lit("missing"))
        .when(pl.col("revision_stored") > pl.col("revision"))
        .then(pl.lit("ahead"))
        .when(_agrees())
        .then(pl.lit("same"))
        .otherwise(pl.lit("changed"))
    )
    judged = both.with_columns(state=state)
    to_write = judged.filter(pl.col("state").is_in(["missing", "changed"])).select(computed.columns)
    alone = stored.join(computed, on=ROW_IDENTITY, how="anti")
    ahead = pl.col("revision") > pl.col("applied")
    alone = alone.with_columns(state=pl.when(ahead).then(pl.lit("ahead")).otherwise(pl.lit("unexplained")))
    states = pl.concat([frame.select("metric", "state", "catalogue_version") for frame in (judged, alone)])
    return Compared(to_write, alone.filter(~ahead), _counted(states))


def _agrees() -> pl.Expr:
    exact = [pl.col(name).eq_missing(pl.col(f"{name}_stored")) for name in _EXACT]
    parts = [_rounded(name) for name in ("parts", "parts_stored")]
    return pl.all_horizontal(
        pl.col("catalogue_version") == CATALOGUE_VERSION, *exact, *map(_close, _FLOATS), parts[0].eq_missing(parts[1])
    )


def _close(name: str) -> pl.Expr:
    one, other = pl.col(name), pl.col(f"{name}_stored")
    near = (one - other).abs() <= TOLERANCE * pl.max_horizontal(pl.lit(1.0), one.abs(), other.abs())
    return one.eq_missing(other) | near.fill_null(value=False)


def _rounded(name: str) -> pl.Expr:
    # Two neighbours may still be rounded apart; the row is then written again, which is harmless.
    return pl.col(name).list.eval(pl.element().round_sig_figs(9))


def _counted(states: pl.DataFrame) -> dict[tuple[str, str], int]:
    older = states.filter((pl.col("state") == "ahead") & (pl.col("catalogue_version") < CATALOGUE_VERSION))
    every = pl.concat([states, older.with_columns(state=pl.lit("ahead_of_older_catalogue"))])
    return {(metric, state): rows for metric, state, rows in every.group_by("metric", "state").len().iter_rows()}
