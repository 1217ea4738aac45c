"""No control character of what was stored or sent reaches a terminal, a pipe or a log."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from streams.output import terminal

#: ESC sequences, C1 controls, a bell, a carriage return, and marks that turn the direction of text.
HOSTILE: Final = "a\x1b[31mred\x9b2J\x07\r\x7f\u202eevil\u2066\u200f\ufeffz"
TEXTS: Final = st.text(st.one_of(st.characters(), st.sampled_from(HOSTILE + "\n\t[bold]")), max_size=60)


def is_harmless(text: str) -> bool:
    """Whether nothing is in it that a terminal obeys or hides."""
    return all(character.isprintable() or character in "\n\t\u3000" for character in text)


@given(TEXTS)
def test_texts_are_escaped(text: str) -> None:
    """What is printed is harmless; what is harmless is printed as it is."""
    shown = terminal.printable(text, keep="\n\t")
    assert is_harmless(shown)
    assert (shown == text) == is_harmless(text)


@given(st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers(), st.lists(TEXTS))), st.sampled_from([None, 2]))
def test_json_is_escaped_and_means_the_same(document: dict[str, object], indent: int | None) -> None:
    """A program reads what was stored; a terminal finds nothing to obey."""
    shown = terminal.json_text(document, indent=indent)
    assert all(character.isprintable() or character in "\n\u3000" for character in shown)
    assert json.loads(shown) == document


@given(TEXTS)
def test_a_table_is_escaped(text: str) -> None:
    """As a text, a cell and a title, whatever its width."""
    table = Table("heading", title=Text(text))
    table.add_row(Text(text))
    output = io.StringIO()
    console = terminal.Console(file=output, width=20)
    console.print(table)
    console.print(text, markup=False)
    assert is_harmless(output.getvalue())


def test_styles_of_ours_stay() -> None:
    """A terminal still gets colours, and the escaped text in them."""
    output = io.StringIO()
    terminal.Console(file=output, force_terminal=True, width=60).print(terminal.plain(HOSTILE, "red"))
    assert output.getvalue().startswith("\x1b[31ma\\x1b[31mred\\x9b2J\\x07\\x0d\\x7f\\u202eevil")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a log of standard form holds, with the records that the commands use."""
    factory = logging.getLogRecordFactory()
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    logging.getLogger("hostile").addHandler(handler)
    terminal.prepare()
    yield output
    logging.getLogger("hostile").removeHandler(handler)
    logging.setLogRecordFactory(factory)


def test_logs_are_escaped(log: io.StringIO) -> None:
    """In the message, in its arguments, and in the text of an exception."""

    def fail() -> None:
        raise ValueError(HOSTILE)

    try:
        fail()
    except ValueError:
        logging.getLogger("hostile").exception("of %s: " + HOSTILE, HOSTILE)  # noqa: G003 - what a library may do
    assert log.getvalue().count("\\x1b[31mred") >= 3
    assert is_harmless(log.getvalue())
