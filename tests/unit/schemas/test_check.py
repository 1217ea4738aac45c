"""``classpulse schema``: what a vendor sees who checks events, and what is exported."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from schemas.check import check
from schemas.codec import Reason
from schemas.event_types import FAMILIES, MODELS, PREP
from schemas.export import example
from streams.commands.schema import schema
from tests.unit.schemas.event_records import answer, without


def line(event: object) -> bytes:
    """Return ``event`` as a line of NDJSON."""
    return json.dumps(event, ensure_ascii=False).encode() + b"\n"


def test_each_line_gets_a_verdict_with_its_number() -> None:
    """Line numbers count blank lines, and every rejected line has a reason and a remedy."""
    lines = [line(answer()), b"\n", b"{broken\n", line(without("id")), line(answer(type="x"))]
    verdicts = list(check(lines))
    assert [(found.line, found.reason) for found in verdicts] == [
        (1, None),
        (3, Reason.JSON),
        (4, Reason.ENVELOPE),
        (5, Reason.UNKNOWN_TYPE),
    ]
    assert verdicts[0].type == "classroom.answer.submitted"
    assert all(found.detail and found.remedy for found in verdicts[1:])


def test_events_of_every_family_are_checked_in_one_file() -> None:
    """Without a family, each event is held to its own family's rules."""
    lines = [line(example(family, name)) for family in FAMILIES for name in family.models]
    assert all(found.accepted for found in check(lines))


def test_a_family_refuses_the_events_of_others() -> None:
    """With a family, an event of another one is for the wrong topic, as it would be for the worker."""
    assert [found.reason for found in check([line(answer())], family=PREP)] == [Reason.WRONG_TOPIC]


def test_an_array_is_checked_item_by_item_as_it_is_written() -> None:
    """A pretty-printed array over many lines: a name written twice is still seen in its item."""
    twice = json.dumps(answer())[:-1] + ', "id": "2"}'
    text = f"[\n{json.dumps(answer(), indent=2)},\n{twice}\n]\n".encode()
    found = list(check(text.splitlines(keepends=True)))
    assert [(verdict.line, verdict.reason) for verdict in found] == [(1, None), (2, Reason.DUPLICATE_KEY)]


GOOD = line(answer()).strip()
BROKEN = [b"[" + GOOD, b"[" + GOOD + GOOD + b"]", b"[" + GOOD + b"] x", b"[" + GOOD + b",]", b"[\xff]", b"[" * 100_000]


@pytest.mark.parametrize("text", BROKEN, ids=["open", "no comma", "text after", "comma", "no UTF-8", "deep"])
def test_a_broken_array_is_never_accepted(text: bytes) -> None:
    """Whatever follows the opening bracket, no item of a broken array is said to be an event."""
    found = list(check([text]))
    assert found
    assert not any(verdict.accepted for verdict in found)


def test_the_command_prints_a_table_and_fails_if_any_is_rejected(tmp_path: Path) -> None:
    """One good and one bad event: both lines are shown, the summary counts them, the exit status is 1."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(line(answer()) + line(without("id")))
    done = CliRunner().invoke(schema, ["check", str(file)])
    assert done.exit_code == 1
    assert "2 events: 1 accepted, 1 rejected" in done.output


def test_the_command_gives_json_for_programs_and_succeeds_if_all_are_accepted() -> None:
    """Standard input, one JSON object a record on standard output, exit status 0."""
    done = CliRunner().invoke(schema, ["check", "-", "--json"], input=line(answer()) * 2)
    assert done.exit_code == 0
    assert [json.loads(text)["accepted"] for text in done.stdout.splitlines()] == [True, True]


def test_an_empty_file_is_no_success(tmp_path: Path) -> None:
    """A check that checked nothing must not pass in a vendor's build."""
    file = tmp_path / "none.ndjson"
    file.write_bytes(b"")
    assert CliRunner().invoke(schema, ["check", str(file)]).exit_code == 1


def test_export_writes_a_file_for_each_type_and_the_document(tmp_path: Path) -> None:
    """The directory holds exactly the schemas and asyncapi.json, each valid JSON; it says what it wrote."""
    done = CliRunner().invoke(schema, ["export", "--out", str(tmp_path / "contract")])
    assert done.exit_code == 0
    written = {str(path.relative_to(tmp_path / "contract")) for path in tmp_path.rglob("*.*") if path.is_file()}
    assert written == {"asyncapi.json", *(f"schemas/{name}.json" for name in MODELS)}
    assert done.output.count("wrote ") == len(written)
    assert all(json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.rglob("*.json"))


def test_export_to_standard_output_is_the_document_alone() -> None:
    """What is printed parses as the AsyncAPI document."""
    done = CliRunner().invoke(schema, ["export", "--stdout"])
    assert json.loads(done.stdout)["asyncapi"] == "3.0.0"
