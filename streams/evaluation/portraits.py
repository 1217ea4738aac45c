"""Bring the portraits up to date: what has changed in the roll-ups, carried forward, and added as new versions.

From the first day that changed, and only for entities of which an observation changed, that moved to another school or
other peers, or that fell silent; for them every later day is said again. Only days of which something is or was said are
gone through: the days between say nothing, however many they are. Memory holds the state of these entities and one day of
observations. A run that was cut off is simply run again: only what differs is added.
"""

import heapq
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl
from clickhouse_connect.driver.client import Client

from schemas.evaluation.portraits import INACTIVE_DAYS, KINDS, PORTRAIT_VERSION, Kind
from schemas.metrics.rules import MetricRules
from sinks.evaluation.portraits import EVERY_DAY, FOLDS, PEER_METRICS, ROWS_AT_ONCE, Pending, PortraitStore, Run
from streams.core.evaluation.places import place_of_day, places
from streams.core.evaluation.portraits import OBSERVED_SCHEMA, State, day_forward, peer_statistics, same

__all__ = ["step"]

_PLACE: Final = ["school_id", "entity_id", "dimension", "day"]
_DAY: Final = timedelta(days=1)
_INACTIVE: Final = timedelta(days=INACTIVE_DAYS)


def step(client: Client, rules: MetricRules, now: datetime) -> int:
    """Bring the portraits up to what ``pane_versions`` and the registry say; returns the rows added.

    ``now`` (with a zone) says which local days are over. Versions are recorded at ``now``, or just after those of the run
    before if the clock went back.

    Raises clickhouse-connect's ``ClickHouseError`` when the database cannot be reached or lacks a table, and ``ValueError``
    for a ``now`` without a zone.
    """
    if now.tzinfo is None:
        raise ValueError("now has no time zone; give an instant such as datetime.now(UTC)")
    store = PortraitStore(client)
    last = store.last_run()
    latest_version = store.latest_version()
    begun = [now] if latest_version is None else [now, latest_version + timedelta(milliseconds=1)]
    recorded_at = max(begun)
    if last is not None and last.portrait_version != PORTRAIT_VERSION:
        last = None
    pending = store.pending(last, now)
    last_day_over = now.astimezone(ZoneInfo(rules.time_zone)).date() - _DAY
    if last is not None:
        last_day_over = max(last_day_over, last.last_day_over)
    known, moved, written = store.places(), pl.DataFrame(), 0
    if pending.registry_changed:
        said = places(store.registrations(rules.time_zone))
        moved = _changes(said, known, ["kind", "entity_id", "from_week"], ("school_id", "peer_group"))
        known = said
    cut_off = last is not None and latest_version is not None and latest_version > last.recorded_at
    for kind in KINDS:
        begins = _first_days(moved, kind)
        if last is not None and cut_off:
            begins = pl.concat([begins, store.recorded_after(kind, last.recorded_at)])
        update = _Update(store, kind, recorded_at, last_day_over, known.filter(pl.col("kind") == kind))
        written += update.run(last, pending, begins)
    # Last, so that a run that is cut off finds again who moved.
    written += store.append("portrait_places", moved, recorded_at)
    store.finish(Run(recorded_at, pending.panes_until, pending.registry_until, last_day_over), written)
    return written


def _first_days(moved: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """Return ``entity_id, from_day``: from which day on entities of the kind have another place."""
    if moved.is_empty():
        return pl.DataFrame(schema={"entity_id": pl.String, "from_day": pl.Date})
    return moved.filter(pl.col("kind") == kind).group_by("entity_id").agg(from_day=pl.col("from_week").min())


class _Update:
    """One run over the portraits of one kind. ``places`` are those of the kind."""

    def __init__(
        self, store: PortraitStore, kind: Kind, recorded_at: datetime, last_day_over: date, places: pl.DataFrame
    ) -> None:
        self._store = store
        self._kind: Kind = kind
        self._recorded_at = recorded_at
        self._last_day_over = last_day_over
        self._places = places
        self._state = State.empty()
        self._carried = pl.Series("entity_id", [], pl.String)
        self._weeks: set[date] = set()
        self._read: tuple[Sequence[date], pl.DataFrame] | None = None
        self._everything = False
        #: A heap of the days that are left, and all that were ever in it.
        self._days: list[date] = []
        self._known_days: set[date] = set()

    def run(self, last: Run | None, pending: Pending, begins: pl.DataFrame) -> int:
        """Say again what has changed since ``last``; returns the rows added.

        ``begins`` has ``entity_id, from_day``: whose portraits are to be said again from which day on.
        """
        span = self._store.first_and_last_day()
        changed = set(pending.days)
        self._everything = last is None
        if span is not None:
            begins = begins.with_columns(pl.col("from_day").clip(span[0])).filter(pl.col("from_day") <= span[1])
            if self._kind == "group" and pending.registry_changed:
                changed |= set(self._store.observable_days())  # a school may have changed its group
        if last is None:
            begins = begins.clear()
            self._go_through(self._store.said_days(self._kind))
        silent_from = date.max if last is None else last.last_day_over + _DAY
        self._go_through([*changed, *begins["from_day"]])
        self._go_through(self._days_of_silence(silent_from))
        written = 0
        while self._days:
            day = heapq.heappop(self._days)
            self._carry(begins.filter(pl.col("from_day") == day)["entity_id"], day)
            if silent_from <= day <= self._last_day_over:
                self._carry(self._store.falling_silent(self._kind, day), day)
            written += self._say(day, self._observed(day, changed) if day in changed else None)
        for week in sorted(self._weeks):
            written += self._compare_peers(week)
        return written

    def _go_through(self, days: Iterable[date]) -> None:
        """See to it that these days are gone through, each once; nothing can change on any other."""
        for day in set(days) - self._known_days:
            self._known_days.add(day)
            heapq.heappush(self._days, day)

    def _days_of_silence(self, silent_from: date) -> list[date]:
        """Return the days from ``silent_from`` on, that are over, on which somebody may become inactive."""
        if silent_from > self._last_day_over:
            return []
        return [
            day + _INACTIVE
            for day in self._store.said_days(self._kind, (silent_from - _INACTIVE, self._last_day_over - _INACTIVE))
        ]

    def _carry(self, entities: pl.Series, day: date) -> None:
        """Take up entities that are not carried forward yet, with their state at the beginning of ``day``."""
        named = entities.unique()
        new = named.filter(~named.is_in(self._carried.implode()))
        if new.is_empty():
            return
        state = State(*self._store.before(self._kind, day, new))
        self._state = self._state.joined(state)
        self._go_through(later for later in _inactive_on(state.activity, self._last_day_over) if later > day)
        if not self._everything:
            self._go_through(later for later in self._store.said_days(self._kind, (day, EVERY_DAY[1]), new) if later > day)
        self._carried = pl.concat([self._carried, new.alias("entity_id")])

    def _observed(self, day: date, changed: set[date]) -> pl.DataFrame:
        """Return the observations of ``day``; those of the changed days of its week are read at once, of all if few."""
        if self._read is None or day not in self._read[0]:
            few = self._store.rows_between(min(changed), max(changed)) <= ROWS_AT_ONCE
            days = sorted(other for other in changed if few or _monday(other) == _monday(day))
            self._read = (days, self._store.observed(self._kind, days))
        return self._read[1].filter(pl.col("day") == day).select(OBSERVED_SCHEMA.names())

    def _say(self, day: date, observed: pl.DataFrame | None) -> int:
        """Say what the portraits say on ``day``, where it differs from what they said.

        ``observed`` are all observations of the day, None where they are those of the run before.
        """
        if observed is None and self._carried.is_empty():
            return 0
        stored = self._store.said(self._kind, day, self._carried if observed is None else None)
        observed_before = stored.drop_nulls("observed").select(OBSERVED_SCHEMA.names())
        if observed is None:
            observed = observed_before
        elif self._everything:
            self._carry(pl.concat([observed["entity_id"], stored["entity_id"]]), day)
        else:
            differing = _changes(observed, observed_before, ["entity_id", "dimension"], ("observed", "sample_size"))
            self._carry(differing["entity_id"], day)
        carried = self._carried.implode()
        observed = observed.filter(pl.col("entity_id").is_in(carried))
        self._state, rows = day_forward(self._state, observed, day, day_is_over=day <= self._last_day_over)
        self._go_through(_inactive_on(self._state.activity.filter(pl.col("last_active") == day), self._last_day_over))
        placed = place_of_day(rows, self._places, day)
        if self._kind == "group":
            placed = placed.with_columns(peer_group=pl.lit("all"))
        versions = _changes(placed, stored.filter(pl.col("entity_id").is_in(carried)), _PLACE, FOLDS)
        # Even if nothing differs here: a run that was cut off may not have come to the peers.
        if not (placed.is_empty() and versions.is_empty()):
            self._weeks.add(_monday(day))
        return self._store.append("portraits", versions.with_columns(kind=pl.lit(self._kind)), self._recorded_at)

    def _compare_peers(self, week: date) -> int:
        statistics = peer_statistics(self._store.last_levels(self._kind, week))
        versions = _changes(statistics, self._store.peers(self._kind, week), ["peer_group", "dimension"], PEER_METRICS)
        # A group that is gone has no peers from now on; unlike a portrait it stays, since nothing asks for it any more.
        gone = pl.col("live") == 0
        named = versions.with_columns(
            peers=pl.when(~gone).then("peers").otherwise(0).cast(pl.UInt32),
            median=pl.when(~gone).then("median"),
            mad=pl.when(~gone).then("mad"),
            kind=pl.lit(self._kind),
            week=pl.lit(week),
        )
        return self._store.append("portrait_peers", named.drop("live"), self._recorded_at)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _inactive_on(activity: pl.DataFrame, last_day_over: date) -> list[date]:
    """Return the days, of those that are over, on which the entities become inactive unless they are seen before."""
    return [day + _INACTIVE for day in activity["last_active"].unique() if day + _INACTIVE <= last_day_over]


def _changes(said: pl.DataFrame, stored: pl.DataFrame, place: list[str], figures: tuple[str, ...]) -> pl.DataFrame:
    """Return the rows of ``said`` that ``stored`` lacks or has otherwise, with ``live`` 1, and those only it has, with 0.

    Both frames have the columns ``place`` and ``figures``, at most one row for each place.
    """
    new = said.select(*place, *figures)
    old = stored.select(*place, *figures)
    both = new.join(old, on=place, how="left", suffix="_stored", coalesce=True).join(
        old.select(place).with_columns(is_stored=pl.lit(value=True)), on=place, how="left"
    )
    agree = pl.all_horizontal(
        same(pl.col(name), pl.col(f"{name}_stored"))
        if new.schema[name].is_float()
        else pl.col(name).eq_missing(pl.col(f"{name}_stored"))
        for name in figures
    )
    changed = both.filter(pl.col("is_stored").is_null() | ~agree).select(*place, *figures, live=pl.lit(1, pl.UInt8))
    gone = old.join(new, on=place, how="anti").select(*place, *figures, live=pl.lit(0, pl.UInt8))
    return pl.concat([changed, gone], how="vertical_relaxed")
