"""``classpulse schema``."""

import json
import re
import time
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import click

from schemas.check import check
from schemas.codec.documents import READ_BYTES
from schemas.events.characters import UNSEEN, one_of
from schemas.events.event_types import FAMILIES
from schemas.export import asyncapi, json_schemas
from streams.cli.schema_display import Tally, as_object, block, limits
from streams.output.terminal import echo, echo_json
from streams.settings import load

_UNSEEN: Final = re.compile(f"[{one_of(span for span in UNSEEN if span[0] > ord(' '))}]")
_FAMILIES: Final = {family.name: family for family in FAMILIES}


@click.group()
def schema() -> None:
    """Export the event schemas; check a vendor's events.

    The schemas are generated from the models the workers validate with, so they cannot disagree with them.
    """


@schema.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("contract"),
    show_default=True,
    help="Directory to write to; it is made if it is missing.",
)
@click.option("--stdout", "to_stdout", is_flag=True, help="Print the AsyncAPI document and write nothing.")
def export(out: Path, to_stdout: bool) -> None:
    """Write the JSON Schema of every event type, and one AsyncAPI 3.0 document.

    \b
    OUT/schemas/<type>.json   JSON Schema (draft 2020-12) of the whole event in structured mode, with an example
    OUT/asyncapi.json         topics, operations, and both content modes with their headers and the record key

    \b
    Example:
      classpulse schema export --out contract
      classpulse schema export --stdout | jq '.channels | keys'
    """
    if to_stdout:
        echo(_text(asyncapi()), nl=False)
        return
    (out / "schemas").mkdir(parents=True, exist_ok=True)
    files = {Path("schemas", f"{name}.json"): body for name, body in json_schemas().items()}
    files[Path("asyncapi.json")] = asyncapi()
    for name, body in files.items():
        # Whole or not at all: a build that reads the directory meanwhile never sees half a file.
        part = out / f"{name}.part"
        part.write_text(_text(body), encoding="utf-8")
        part.replace(out / name)
        echo(f"wrote {out / name}")


@schema.command(name="check")
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each event, accepted or rejected.")
@click.option("--family", type=click.Choice(list(_FAMILIES)), help="Check for the topic of this family only.")
@click.pass_context
def check_file(context: click.Context, file: IO[bytes], as_json: bool, family: str | None) -> None:
    """Tell which events of FILE a worker would reject, and all that is wrong with them.

    FILE holds CloudEvents in structured mode: one event, compact or over many lines; several one after another, such as
    one a line (NDJSON); or one JSON array of them. `-` reads standard input. The record key is taken to be
    `partitionkey`, so an event without it is rejected here. Without --family, each event is checked for the topic its
    type belongs to.

    The limits are the worker's: CLASSPULSE_EARLIEST_TIME, CLASSPULSE_MAX_AHEAD_SECONDS (from now, as if the events were
    sent now) and CLASSPULSE_MAX_VALUE_BYTES.

    \b
    Exit status: 0 if all would be stored, 1 if any would be rejected or there is none.

    \b
    Example:
      classpulse schema check events.ndjson
      echo '{"specversion": "1.0", "id": "1"}' | classpulse schema check - --json
    """
    settings = load()
    now_us = time.time_ns() // 1_000
    verdicts = check(
        iter(partial(file.read, READ_BYTES), b""),
        clock=settings.clock_limits,
        now_us=now_us,
        max_value_bytes=settings.max_value_bytes,
        family=_FAMILIES[family] if family else None,
    )
    tally = Tally()
    for verdict in verdicts:
        tally.add(verdict)
        if as_json:
            echo_json(as_object(verdict))
        elif not verdict.accepted:
            echo(block(verdict))
    echo(tally.summary(), err=as_json)
    echo(limits(settings.clock_limits, now_us), err=as_json)
    if tally.rejected or not tally.accepted:
        context.exit(1)


def _text(document: Any) -> str:
    text = json.dumps(document, ensure_ascii=False, indent=2)
    # Patterns hold characters that nobody sees; JSON's escapes show them.
    return _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text) + "\n"
