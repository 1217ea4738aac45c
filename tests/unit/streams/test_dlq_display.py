"""What the terminal gets to see of hostile bytes, and what it does not."""

import json
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from streams.cli import dlq_display
from streams.cli.dlq_display import Summary, dead_letter_line, dead_letter_lines, dead_letters_table, indented, value_lines
from streams.cli.program import cli
from streams.output.terminal import Console, printable
from tests.unit.streams.test_dead_letter_records import EVENT, stored

ZONE = ZoneInfo("Asia/Shanghai")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def is_safe(line: str) -> bool:
    """Whether no terminal obeys anything in a line, nor shows it in another order."""
    return all(character.isprintable() or character == "\u3000" for character in line)


@given(st.text())
def test_no_text_reaches_the_terminal_unescaped(text: str) -> None:
    """Controls, escapes, direction marks and halves of surrogate pairs are spelled out; the rest stays."""
    shown = printable(text)
    assert is_safe(shown)
    assert not text.isprintable() or shown == text
    shown.encode()


def test_the_escapes_of_a_terminal_are_spelled_out() -> None:
    """C0 and C1 controls and the marks that reverse a text are readable."""
    assert printable("\x1b[31m\x9b\u202e課\u3000\r") == "\\x1b[31m\\x9b\\u202e課\u3000\\x0d"


@given(st.binary() | st.text().map(str.encode) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_content_reaches_the_terminal_unescaped(content: bytes) -> None:
    """A dead letter is shown in safe lines, whatever its value, its key and its headers are."""
    letter = stored(content, [("\x1b[2J", content), ("ce_source", content), ("ce_type", content)])
    assert all(map(is_safe, dead_letter_lines(letter, ZONE)))
    console = Console(width=100, force_terminal=False)
    with console.capture() as capture:
        console.print(dead_letters_table([letter], ZONE))
        summary = Summary(("reason", "field", "type", "source"))
        summary.add(letter)
        console.print(summary.table(ZONE, 10))
    assert all(map(is_safe, capture.get().split("\n")))


@given(json_values, st.sampled_from([None, 1, "\t"]))
def test_indenting_keeps_every_token(value: object, indent: int | str | None) -> None:
    """Only white space between tokens changes."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    lines = list(indented(text))
    assert json.loads("\n".join(lines)) == value
    if '"' not in text:
        assert "".join("".join(lines).split()) == "".join(text.split())


def test_indenting_shows_what_parsing_would_hide() -> None:
    """A repeated name and the spelling of a number stay visible."""
    assert list(value_lines(b'{"id":"a","id":"b","n":1.10}')) == ["{", '  "id": "a",', '  "id": "b",', '  "n": 1.10', "}"]


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        (None, ["(null)"]),
        (b"", ["(empty)"]),
        (b'{"cut": "js\n\x1b', ['{"cut": "js', "\\x1b"]),
        (b"\xff\xfeab\x1b", ["00000000  ff fe 61 62 1b" + " " * 35 + "..ab."]),
        (b"[" * 17_000, ["[" * dlq_display.SHOWN_BYTES, "… 17,000 bytes in all; --raw writes every one"]),
    ],
)
def test_a_value_that_is_no_json_is_shown_as_text_or_bytes(value: bytes | None, lines: list[str]) -> None:
    """Text is escaped, what is not UTF-8 is dumped, a long value ends with how to get the rest."""
    assert list(value_lines(value)) == lines


def test_a_list_shows_no_content() -> None:
    """Neither the value nor the detail, which quotes it, is in a list."""
    letter = stored(EVENT[:-1] + b', "student_id": "20110417"}')
    shown = json.loads(dead_letter_line(letter))
    assert shown["position"] == "classpulse.classroom/3@1841"
    assert shown["source"] == "/schools/s07/devices/t-1"
    assert "20110417" not in json.dumps(shown)
    assert "detail" not in shown


def test_a_summary_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer that invents sources fills one group of others, and every dead letter is counted."""
    monkeypatch.setattr(dlq_display, "MOST_GROUPS", 3)
    summary = Summary(("source",))
    for number in range(10):
        summary.add(stored(b'{"source": "/s%d"}' % number))
    counts = {json.loads(line)["source"]: json.loads(line)["count"] for line in summary.lines()}
    assert counts == {"(others)": 7, "/s0": 1, "/s1": 1, "/s2": 1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "--reason", "dta"], "did you mean data?"),
        (["list", "--since", "yesterday"], "such as 30m, 2h or 3d"),
        (["list", "--limit", "5", "--all"], "exclude each other"),
        (["show", "classroom"], "classpulse.classroom/3@1841"),
        (["replay"], "or give --all"),
    ],
)
def test_a_wrong_option_is_answered_with_the_right_one(arguments: list[str], said: str) -> None:
    """Mistakes end with status 2 before Kafka is asked."""
    result = CliRunner().invoke(cli, ["dlq", *arguments])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
