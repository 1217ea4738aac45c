"""``classpulse received``: what became of a vendor's own events."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

import click
from clickhouse_connect.driver.client import Client

from schemas.check import REMEDIES
from schemas.codec.records import Reason
from schemas.errors import MustStop
from sinks.views.received import RECEIVED, STORED
from streams import settings as settings_module
from streams.cli.reading import reading, target_of
from streams.output.terminal import echo

TIMEOUT_SECONDS: Final = 30.0
#: So many events of a file are asked for, one query each.
MOST_EVENTS: Final = 10_000
LONGEST_LINE_CHARACTERS: Final = 1_048_576
_QUERY: Final = (
    "SELECT outcome, formatDateTime(at, '%Y-%m-%dT%H:%i:%SZ', 'UTC') AS at, records, type, reason, field"  # noqa: S608 - ours
    f" FROM {RECEIVED}(key = {{key:String}}, source = {{source:String}}, id = {{id:String}})"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What an event is known by."""

    key: str
    source: str
    id: str


@click.command()
@click.argument("file", type=click.File(encoding="utf-8"), required=False)
@click.option("--key", help="The event's partitionkey.")
@click.option("--source", help="The event's source, in full.")
@click.option("--id", "event_id", help="The event's id, in full.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object an event.")
@click.option("--url", help="ClickHouse's HTTP interface; default: CLASSPULSE_CLICKHOUSE_URL.")
@click.option("--user", help="Default: CLASSPULSE_CLICKHOUSE_USER; a vendor's is classpulse_vendor.")
@click.option("--password-env", default="CLASSPULSE_CLICKHOUSE_PASSWORD", show_default=True, help="Where its password is.")
@click.option("--database", help="Default: CLASSPULSE_CLICKHOUSE_DATABASE.")
def received(
    *,
    file: IO[str] | None,
    key: str | None,
    source: str | None,
    event_id: str | None,
    as_json: bool,
    url: str | None,
    user: str | None,
    password_env: str,
    database: str | None,
) -> None:
    """Tell what became of events: stored, come again, rejected with the reason, or not there (yet).

    Name one event by --key, --source and --id, or give a FILE of the events as they were sent, one JSON object a line
    (- reads them from standard input). Nothing is told of an event that you cannot name in full.

    \b
    Example:
      classpulse received --key lesson-s07-c2-20261116-1 --source /schools/s07/devices/tablet-0113 --id 019a8c1e-5b7c
      classpulse received sent.ndjson

    Exit status: 0 all are stored, 1 at least one is not, 2 it could not be asked.
    """
    identities = list(_identities(file, key, source, event_id))
    target = target_of(settings_module.load_for_admin(user, password_env), url, database, TIMEOUT_SECONDS)
    missing = 0
    with reading(target, "ask what became of an event") as client:
        for identity in identities:
            rows = _rows(client, identity)
            missing += all(row["outcome"] != STORED for row in rows)
            echo(_as_json(identity, rows) if as_json else _as_text(identity, rows))
    if missing:
        raise SystemExit(1)


def _identities(file: IO[str] | None, *named: str | None) -> Iterator[Identity]:
    """Yield the events that are asked for; raises :class:`MustStop` that says what is wrong, and in which line."""
    if file is None:
        key, source, event_id = named
        if not (key and source and event_id):
            raise MustStop("An event is named by its key, source and id", "Give --key, --source and --id, or a file")
        yield Identity(key, source, event_id)
        return
    if any(named):
        raise MustStop("Both a file and a single event are named", "Give either the file, or --key, --source and --id")
    number = 0
    while line := file.readline(LONGEST_LINE_CHARACTERS):
        number += 1
        if number > MOST_EVENTS:
            raise MustStop(f"The file has more than {MOST_EVENTS} lines", "Ask for fewer events at once")
        if line.strip():
            yield _identity(line, number)


def _identity(line: str, number: int) -> Identity:
    try:
        event = json.loads(line)
        named = [event[name] for name in ("partitionkey", "source", "id")]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        name = f"it has no {error.args[0]}" if isinstance(error, KeyError) else "it is no JSON object in one line"
        raise MustStop(f"Line {number} is no event: {name}", "Give the events as sent, one JSON object a line") from error
    if not all(isinstance(text, str) and text for text in named):
        raise MustStop(f"Line {number}: partitionkey, source and id must be text", "Correct the event; see docs/events.md")
    return Identity(*named)


def _rows(client: Client, identity: Identity) -> list[dict[str, Any]]:
    parameters = {"key": identity.key, "source": identity.source, "id": identity.id}
    return list(client.query(_QUERY, parameters=parameters).named_results())


def _as_json(identity: Identity, rows: list[dict[str, Any]]) -> str:
    told = [
        {name: value for name, value in (row | {"remedy": _remedy(row["reason"])}).items() if value != ""} for row in rows
    ]
    event = {"key": identity.key, "source": identity.source, "id": identity.id}
    return json.dumps({**event, "stored": any(row["outcome"] == STORED for row in rows), "outcomes": told})


def _as_text(identity: Identity, rows: list[dict[str, Any]]) -> str:
    # As JSON, so that no control character of an id reaches the terminal.
    lines = [f"{json.dumps(identity.id)[1:-1]}  from {json.dumps(identity.source)[1:-1]}"]
    for row in rows:
        match row["outcome"]:
            case "stored":
                lines.append(f"  stored     {row['at']}  {row['type']}")
            case "duplicate":
                lines.append(f"  duplicate  {row['at']}  {row['records']} more came and were dropped; the first counts")
            case _:
                blamed = f", field {json.dumps(row['field'])[1:-1]}" if row["field"] else ""
                lines.append(f"  rejected   {row['at']}  {row['reason']}{blamed}. {_remedy(row['reason'])}")
    if not rows:
        lines.append("  not there  No worker has read it yet, or it was never sent under this key, source and id.")
    return "\n".join(lines)


def _remedy(reason: str) -> str:
    return REMEDIES[Reason(reason)] if reason in set(Reason) else ""
