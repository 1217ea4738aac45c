"""``classpulse schema``: what a vendor sees who checks events, and what is exported."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from schemas.check import REMEDIES, Verdict, check
from schemas.codec.decode import Reason
from schemas.events.event_types import FAMILIES, MODELS, PREP, Family
from schemas.export import example
from streams.cli.schema import schema
from tests.unit.schemas.event_records import CLOCK, NOW_US, answer, answer_data, without


def line(event: object) -> bytes:
    """Return ``event`` as a line of NDJSON."""
    return json.dumps(event, ensure_ascii=False).encode() + b"\n"


def checked(chunks: Iterable[bytes], family: Family | None = None) -> list[Verdict]:
    """Return the verdicts on a file."""
    return list(check(chunks, clock=CLOCK, now_us=NOW_US, max_value_bytes=1_048_576, family=family))


def reasons(verdict: Verdict) -> list[Reason]:
    """Return the reasons of all faults."""
    return [fault.reason for fault in verdict.faults]


def test_each_line_gets_a_verdict_with_its_number() -> None:
    """Line numbers count blank lines, and a rejected line has its id and type as far as they can be read."""
    lines = [line(answer()), b"\n", b"{broken\n", line(without("id")), line(answer(type="x"))]
    verdicts = checked(lines)
    assert [(found.event, found.line, reasons(found)) for found in verdicts] == [
        (1, 1, []),
        (2, 3, [Reason.JSON]),
        (3, 4, [Reason.ENVELOPE]),
        (4, 5, [Reason.UNKNOWN_TYPE]),
    ]
    assert [found.accepted for found in verdicts] == [True, False, False, False]
    assert (verdicts[1].id, verdicts[2].type, verdicts[3].type) == (None, answer()["type"], "x")


def test_events_of_every_family_are_checked_in_one_file() -> None:
    """Without a family, each event is held to its own family's rules."""
    lines = [line(example(family, name)) for family in FAMILIES for name in family.models]
    assert all(found.accepted for found in checked(lines))


def test_a_family_rejects_the_events_of_others() -> None:
    """With a family, an event of another one is for the wrong topic, as it would be for the worker."""
    assert [reasons(found) for found in checked([line(answer())], family=PREP)] == [[Reason.WRONG_TOPIC]]


def test_the_clocks_limits_are_the_workers() -> None:
    """A time before the earliest and one too far ahead of now are rejected; the limits themselves are not."""
    times = ["2020-09-13T12:26:39.999999Z", "2020-09-13T12:26:40Z", "2027-01-15T08:01:00Z", "2027-01-15T08:01:00.000001Z"]
    verdicts = checked([line(answer(time=time, recordedtime=None)) for time in times])
    assert [reasons(found) for found in verdicts] == [[Reason.CLOCK_BEHIND], [], [], [Reason.CLOCK_AHEAD]]


def test_an_array_is_checked_item_by_item_as_it_is_written() -> None:
    """A pretty-printed array over many lines: a name written twice is still seen in its item."""
    twice = json.dumps(answer())[:-1] + ', "id": "2"}'
    pretty = json.dumps(answer(), indent=2)
    text = f"[\n{pretty},\n{twice}\n]\n".encode()
    found = checked(text.splitlines(keepends=True))
    assert [(verdict.event, verdict.line, reasons(verdict)) for verdict in found] == [
        (1, 2, []),
        (2, 3 + pretty.count("\n"), [Reason.DUPLICATE_KEY]),
    ]


GOOD = line(answer()).strip()
BROKEN = [b"[" + GOOD, b"[" + GOOD + GOOD + b"]", b"[" + GOOD + b"] x", b"[" + GOOD + b",]", b"[\xff]", b"[" * 100_000]


@pytest.mark.parametrize("text", BROKEN, ids=["open", "no comma", "text after", "comma", "no UTF-8", "deep"])
def test_a_broken_array_is_never_accepted(text: bytes) -> None:
    """Whatever follows the opening bracket, no item of a broken array is said to be an event."""
    found = checked([text])
    assert len(found) == 1
    assert reasons(found[0]) == [Reason.JSON]


def run(content: bytes, *options: str) -> Result:
    """Run the command on a file of ``content``."""
    return CliRunner().invoke(schema, ["check", "-", *options], input=content)


def test_the_command_shows_the_rejected_alone_with_every_fault_uncut() -> None:
    """Two events of three: which, where, each fault with what was expected, what came and what to do, and a summary."""
    bad = {**answer_data(score=1.5, latency_ms="x" * 60), "id": "stu\u30001", "time": "2024-05-06T07:08:09Z"}
    good = {**answer(), "time": "2024-05-06T07:08:09Z", "recordedtime": None}
    lines = json.dumps({**bad, "recordedtime": None}, indent=1).splitlines(keepends=True)
    done = run(line(good) + "".join(lines).encode() + b"\n{broken")
    assert done.exit_code == 1
    assert (
        done.output.split("\nAccepted times")[0]
        == f"""\
Rejected for 3 faults: event 2, line 2, id 'stu\\u30001', type 'io.classpulse.classroom.answer.submitted.v1'
  envelope
    - id: expected text without white space, control characters or characters that nobody sees, got 'stu\\u30001'
      {REMEDIES[Reason.ENVELOPE]}
  data
    - data.score: expected a number of at most 1.0, got 1.5
    - data.latency_ms: expected a whole number, written without a fraction, got '{"x" * 60}'
      {REMEDIES[Reason.DATA]}

Rejected for 1 fault: event 3, line {2 + len(lines)}
  json
    - not valid JSON at line 1, column 2: Expecting property name enclosed in double quotes; near '{{broken'
      {REMEDIES[Reason.JSON]}

3 events: 1 accepted, 2 rejected
  envelope        in 1 event, 1 fault
  data            in 1 event, 2 faults
  json            in 1 event, 1 fault"""
    )


def test_the_command_says_and_keeps_the_clocks_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of a worker hold: an earliest time and a reach that the environment sets are said, and reject."""
    monkeypatch.setenv("CLASSPULSE_EARLIEST_TIME", "2024-05-06T00:00:00Z")
    monkeypatch.setenv("CLASSPULSE_MAX_AHEAD_SECONDS", "60")
    monkeypatch.setenv("CLASSPULSE_MAX_VALUE_BYTES", "2000")
    ahead = (datetime.now(UTC) + timedelta(seconds=600)).isoformat()
    times = ["2024-05-05T23:59:59Z", "2024-05-06T00:00:00Z", ahead]
    events = [{**answer(), "time": time, "recordedtime": None} for time in times]
    done = run(b"".join(map(line, [*events, {**events[1], "other": "x" * 2000}])))
    assert "4 events: 1 accepted, 3 rejected" in done.output
    assert all(f"  {reason} " in done.output for reason in ("clock_ahead", "clock_behind", "too_large"))
    assert "from 2024-05-06T00:00:00Z (CLASSPULSE_EARLIEST_TIME)" in done.output
    assert "to 60 s after now" in done.output


def test_what_was_sent_cannot_drive_the_terminal() -> None:
    """An id of escape sequences, and a type, come out quoted, in the text and in JSON."""
    bad = line({**answer(), "id": "\x1b[31m\x9b2J", "type": "\u202ex"})
    for options in ([], ["--json"]):
        output = run(bad, *options).output
        assert "\\x1b[31m" in output or "\\u001b[31m" in output
        assert all(character.isprintable() or character == "\n" for character in output)


def test_the_command_gives_json_for_programs_and_succeeds_if_all_are_accepted() -> None:
    """One JSON object an event on standard output with all its faults; the summary is on standard error."""
    good = line({**answer(), "time": "2024-05-06T07:08:09Z", "recordedtime": None})
    done = run(good * 2, "--json")
    assert done.exit_code == 0
    assert [json.loads(text)["accepted"] for text in done.stdout.splitlines()] == [True, True]
    assert "2 events: 2 accepted, 0 rejected" in done.stderr
    done = run(b"{}", "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert [fault["field"] for fault in found["faults"]][:3] == ["specversion", "id", "source"]
    assert found["faults"][0].keys() == {"reason", "field", "detail", "remedy"}


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
    texts = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.json")]
    assert all(json.loads(text) for text in texts)
    # A pattern of characters that nobody sees can be read in an editor.
    assert all(character.isprintable() or character == "\n" for text in texts for character in text)


def test_export_to_standard_output_is_the_document_alone() -> None:
    """What is printed parses as the AsyncAPI document."""
    done = CliRunner().invoke(schema, ["export", "--stdout"])
    assert json.loads(done.stdout)["asyncapi"] == "3.0.0"
