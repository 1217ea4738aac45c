"""``classpulse schema``."""

import dataclasses
import json
import re
from pathlib import Path
from typing import IO, Any, Final

import click
from rich.table import Table
from rich.text import Text

from schemas.characters import UNSEEN, one_of
from schemas.check import Verdict, check
from schemas.event_types import FAMILIES
from schemas.export import asyncapi, json_schemas
from streams.terminal import Console, echo, echo_json

_UNSEEN: Final = re.compile(f"[{one_of(span for span in UNSEEN if span[0] > ord(' '))}]")
_FAMILIES: Final = {family.name: family for family in FAMILIES}
#: A table is laid out as a whole, so a long file is shown in several: memory stays bounded.
ROWS_PER_TABLE: Final = 500


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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a record instead of the table.")
@click.option("--family", type=click.Choice(list(_FAMILIES)), help="Check for the topic of this family only.")
@click.pass_context
def check_file(context: click.Context, file: IO[bytes], as_json: bool, family: str | None) -> None:
    """Tell which events of FILE a worker would store, and what is wrong with the others.

    FILE holds CloudEvents in structured mode, one a line (NDJSON) or in one JSON array; `-` reads standard input.
    The record key is taken to be `partitionkey`, and no clock limits apply. Without --family, each event is checked
    for the topic its type belongs to.

    \b
    Exit status: 0 if all would be stored, 1 if any would be rejected or there is none.

    \b
    Example:
      classpulse schema check events.ndjson
      echo '{"specversion": "1.0", "id": "1"}' | classpulse schema check - --json
    """
    accepted = rejected = 0
    console = Console(soft_wrap=False)
    shown: list[Verdict] = []
    for verdict in check(file, family=_FAMILIES[family] if family else None):
        accepted += verdict.accepted
        rejected += not verdict.accepted
        if as_json:
            echo_json(dataclasses.asdict(verdict))
            continue
        shown.append(verdict)
        if len(shown) == ROWS_PER_TABLE:
            console.print(_table(shown))
            shown.clear()
    if shown:
        console.print(_table(shown))
    summary = f"{accepted + rejected} events: {accepted} accepted, {rejected} rejected"
    click.secho(summary, fg="red" if rejected else "green", bold=True, err=as_json)
    if rejected or not accepted:
        context.exit(1)


def _table(verdicts: list[Verdict]) -> Table:
    table = Table("line", "verdict", "type", "reason", "field", "what is wrong, and what to do", header_style="bold")
    for verdict in verdicts:
        colour = "green" if verdict.accepted else "red"
        # Text, not markup: what a vendor sent must not be read as colours.
        table.add_row(
            str(verdict.line),
            Text("accepted" if verdict.accepted else "rejected", style=colour),
            Text(verdict.type or ""),
            Text(verdict.reason or ""),
            Text(verdict.field or ""),
            Text(" ".join(part for part in (verdict.detail and f"{verdict.detail}.", verdict.remedy) if part)),
        )
    return table


def _text(document: Any) -> str:
    text = json.dumps(document, ensure_ascii=False, indent=2)
    # Patterns hold characters that nobody sees; JSON's escapes show them.
    return _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text) + "\n"
