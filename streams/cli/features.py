"""``classpulse features``."""

import io
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import click
import polars as pl
from clickhouse_connect.driver.client import Client

from schemas.errors import MustStop
from sinks.views.rollups import LEVELS
from streams import settings as settings_module
from streams.cli.explain import InstantType, WeekType
from streams.cli.reading import reading, target_of
from streams.evaluation.features import Table, card, labelled, last_complete_week, of_weeks
from streams.evaluation.weeks import iso_week
from streams.output.files import write_private
from streams.output.terminal import echo

#: Long enough for a term of a district's students.
TIMEOUT_SECONDS: Final = 300.0
#: Of the file of labels; a district has 36,000 students.
MOST_LABELS: Final = 1_000_000


@click.command()
@click.argument("level", type=click.Choice(LEVELS))
@click.option(
    "--from", "first", type=WeekType(), metavar="WEEK", help="First ISO week such as 2026-W37; default: the last one."
)
@click.option("--to", "last", type=WeekType(), metavar="WEEK", help="Last ISO week; default: the last one that is over.")
@click.option(
    "--as-of",
    type=InstantType(),
    metavar="INSTANT",
    help="Only what was known then; without a zone in CLASSPULSE_TIME_ZONE. Default: now.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="CSV",
    help="Labels with the columns entity_id and known_at (an instant with its zone), and others: each gets the features "
    "that were known then. In the place of --from, --to and --as-of.",
)
@click.option("--school", default="", help="Only this school.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="Where to write: .parquet, or .arrow for an Arrow file. Its data card is written to FILE.card.json.",
)
@click.option("--url", help="ClickHouse's HTTP interface; default: CLASSPULSE_CLICKHOUSE_URL.")
@click.option("--user", help="A user that may read; default: CLASSPULSE_CLICKHOUSE_USER.")
@click.option("--password-env", default="CLASSPULSE_CLICKHOUSE_PASSWORD", show_default=True, help="Where its password is.")
@click.option("--database", help="Default: CLASSPULSE_CLICKHOUSE_DATABASE.")
def features(
    *,
    level: str,
    first: date | None,
    last: date | None,
    as_of: datetime | None,
    labels: Path | None,
    school: str,
    out: Path,
    url: str | None,
    user: str | None,
    password_env: str,
    database: str | None,
) -> None:
    """Write features for a model of the evaluation: the metrics of each entity and week, as they were known at an instant.

    Nothing that arrived or was corrected after that instant is in the file. With --labels each label gets the features of
    the last week that was over when it was known. The card beside the file says what every column means, its unit, its
    range and how much of it is missing. Reads only.

    \b
      classpulse features class --from 2026-W37 --to 2026-W46 --as-of 2026-11-23 --out classes.parquet
      classpulse features teacher --labels observed.csv --out teachers.arrow

    The files are for their owner alone to read (mode 600); rows of teachers and students are personal data.

    Exit code: 0 written, 2 an option, the labels or the database cannot be used, or there is nothing to write.
    """
    if out.suffix not in {".parquet", ".arrow"}:
        raise click.BadParameter(f"{out.name} ends neither in .parquet nor in .arrow", param_hint="--out")
    if labels is not None and (first, last, as_of) != (None, None, None):
        raise click.UsageError("--labels says itself what is known when; leave out --from, --to and --as-of")
    settings = settings_module.load_for_admin(user, password_env)
    zone = settings.time_zone
    target = target_of(settings, url, database, TIMEOUT_SECONDS)
    about: dict[str, Any] = {"level": level, "school": school, "time_zone": zone, "made_at": datetime.now(UTC).isoformat()}
    with reading(target, "read the features") as client:
        if labels is None:
            table = _of_weeks(client, level, first, last, _known_at(as_of, zone), school, zone)
            about |= {"known_at": _known_at(as_of, zone).isoformat()} if as_of else {}
        else:
            table = _of_labels(client, level, labels, zone, school)
            about |= {"labels": labels.name}
    if not table.columns:
        raise MustStop(
            "There is nothing to write: no metric of these weeks was known", "Look at v1_rollup_days for what there is"
        )
    data = _encoded(table.rows, out.suffix)
    write_private(out, data)
    written = json.dumps(card(table, data, about), ensure_ascii=False, indent=1).encode()
    write_private(out.with_name(f"{out.name}.card.json"), written)
    echo(f"{out}: {table.rows.height:,} rows of {len(table.columns)} metrics; what they mean is in {out.name}.card.json")


def _known_at(as_of: datetime | None, zone: str) -> datetime:
    """Return the instant with its zone; raises ``click.BadParameter`` for one in the future."""
    now = datetime.now(UTC)
    instant = now if as_of is None else as_of if as_of.tzinfo else as_of.replace(tzinfo=ZoneInfo(zone))
    if instant > now:
        raise click.BadParameter(f"{instant.isoformat()} is in the future; leave it out for now.", param_hint="--as-of")
    return instant


def _of_weeks(
    client: Client, level: str, first: date | None, last: date | None, known_at: datetime, school: str, zone: str
) -> Table:
    complete = last_complete_week(known_at, zone)
    until = last or complete
    since = first or until
    if until > complete:
        raise click.BadParameter(
            f"{iso_week(until)} was not over at {known_at.isoformat()}; the last one that was is {iso_week(complete)}",
            param_hint="--to",
        )
    if since > until:
        raise click.BadParameter(f"{iso_week(since)} is after {iso_week(until)}", param_hint="--from")
    return of_weeks(client, level, since, until, known_at, school)


def _of_labels(client: Client, level: str, path: Path, zone: str, school: str) -> Table:
    try:
        labels = pl.read_csv(path, n_rows=MOST_LABELS + 1, schema_overrides={"entity_id": pl.String, "known_at": pl.String})
        if missing := [name for name in ("entity_id", "known_at") if name not in labels.columns]:
            raise MustStop(f"{path} lacks the column {' and '.join(missing)}", "Name them in its first line")
        if not 0 < labels.height <= MOST_LABELS:
            raise MustStop(f"{path} has {'no' if labels.is_empty() else 'too many'} labels", f"Give 1 to {MOST_LABELS:,}")
        known_at = labels["known_at"].str.to_datetime("%+", time_unit="us", time_zone="UTC")
        return labelled(client, level, labels.with_columns(known_at=known_at), zone, school)
    except (pl.exceptions.PolarsError, ValueError, OSError) as error:
        message = str(error).splitlines()[0]
        raise MustStop(
            f"{path} cannot be used as labels: {message}", "known_at is like 2026-11-23T18:00:00+08:00"
        ) from error


def _encoded(rows: pl.DataFrame, suffix: str) -> bytes:
    buffer = io.BytesIO()
    if suffix == ".parquet":
        rows.write_parquet(buffer)
    else:
        rows.write_ipc(buffer)
    return buffer.getvalue()
