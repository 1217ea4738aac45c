"""How ``classpulse dlq`` shows dead letters: to people in tables, to machines in lines of JSON.

What was rejected may be hostile, and a terminal obeys what it is sent: everything that comes from a dead letter passes
:func:`printable` before it is shown. JSON escapes by itself.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from rich import box
from rich.table import Table
from rich.text import Text

from streams.dlq.records import PublishedDeadLetter
from streams.output.terminal import json_text, printable

#: The columns that a summary can be made by.
GROUPINGS: Final = ("reason", "field", "type", "source", "topic")
#: Which of them stand one below the other.
_STACKS: Final = (("reason", "field"), ("type", "source"), ("topic",))
#: A producer chooses sources, types and fields, so their number needs a bound; what is beyond is one group.
MOST_GROUPS: Final = 10_000
OTHERS: Final = "(others)"
#: A value that is longer is shown up to here; --raw gives all.
SHOWN_BYTES: Final = 16_384
SHOWN_HEADER_CHARACTERS: Final = 200
LONGEST_CELL_CHARACTERS: Final = 100
_HEX_WIDTH: Final = 16
#: Deeper structure is indented no further: deep nesting is one of the ways to be rejected.
_DEEPEST_INDENT: Final = 20


def printable_bytes(content: bytes | None) -> str:
    """Return bytes as one line of text; what is not UTF-8 is escaped."""
    return "null" if content is None else printable(content.decode("utf-8", "backslashreplace"))


def moment(time_ms: int, zone: ZoneInfo) -> str:
    """Return ``2026-11-16 08:05:12`` in ``zone``; a time that no calendar has as its number."""
    try:
        return f"{datetime.fromtimestamp(time_ms // 1000, zone):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"


def _iso(time_ms: int) -> str | None:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return None


@dataclass
class Group:
    """Dead letters that have the same in the columns of a summary."""

    count: int
    first_ms: int
    last_ms: int


class Summary:
    """Counts dead letters by some of ``GROUPINGS``, in bounded memory."""

    def __init__(self, by: Sequence[str]) -> None:
        self._by = tuple(by)
        self.groups: dict[tuple[str, ...], Group] = {}
        self.letters = 0

    def add(self, letter: PublishedDeadLetter) -> None:
        """Count one letter."""
        self.letters += 1
        key = tuple(_column(letter, name) for name in self._by)
        if key not in self.groups and len(self.groups) >= MOST_GROUPS:
            key = (OTHERS,) * len(self._by)
        group = self.groups.setdefault(key, Group(0, letter.rejected_ms, letter.rejected_ms))
        group.count += 1
        group.first_ms = min(group.first_ms, letter.rejected_ms)
        group.last_ms = max(group.last_ms, letter.rejected_ms)

    def largest_first(self) -> list[tuple[tuple[str, ...], Group]]:
        """Return the groups, the largest first."""
        return sorted(self.groups.items(), key=lambda entry: (-entry[1].count, entry[0]))

    def table(self, zone: ZoneInfo, rows: int) -> Table:
        """Return the ``rows`` largest groups."""
        stacks = [stack for names in _STACKS if (stack := [name for name in names if name in self._by])]
        table = _table("count", *("\n".join(stack) for stack in stacks), "first\nlast")
        table.columns[0].justify = "right"
        for key, group in self.largest_first()[:rows]:
            columns = dict(zip(self._by, key, strict=True))
            table.add_row(
                Text(f"{group.count:,}"),
                *(_stacked(*(columns[name] for name in stack)) for stack in stacks),
                Text(f"{moment(group.first_ms, zone)}\n{moment(group.last_ms, zone)}"),
            )
        return table

    def lines(self) -> Iterable[str]:
        """Yield one JSON object a group."""
        for key, group in self.largest_first():
            named: Mapping[str, Any] = dict(zip(self._by, key, strict=True))
            yield json_text({**named, "count": group.count, "first": _iso(group.first_ms), "last": _iso(group.last_ms)})


def _column(letter: PublishedDeadLetter, name: str) -> str:
    columns = {
        "reason": letter.reason,
        "field": letter.field,
        "type": letter.short_type,
        "source": letter.source,
        "topic": letter.position.topic,
    }
    return columns[name]


def dead_letters_table(letters: Iterable[PublishedDeadLetter], zone: ZoneInfo) -> Table:
    """Return dead letters without their content, one a row."""
    table = _table("position\nrejected", "reason\nfield", "type\nsource")
    for letter in letters:
        table.add_row(
            _stacked(str(letter.position), moment(letter.rejected_ms, zone)),
            _stacked(letter.reason, letter.field),
            _stacked(letter.short_type, letter.source),
        )
    return table


def _stacked(*texts: str) -> Text:
    """Return texts one below the other: side by side they do not fit into 80 columns."""
    # As Text, not markup: what a producer sent must not be read as colours.
    lines = [
        Text(_shortened(printable(text), LONGEST_CELL_CHARACTERS) or "-", style="dim" if number else "")
        for number, text in enumerate(texts)
    ]
    while len(lines) > 1 and not texts[len(lines) - 1]:
        lines.pop()
    return Text("\n").join(lines)


def dead_letter_line(letter: PublishedDeadLetter) -> str:
    """Return a dead letter without its content as one JSON object."""
    return json_text(
        {
            "position": str(letter.position),
            "dead_letter": str(letter.dead_letter_position),
            "rejected": _iso(letter.rejected_ms),
            "recorded": None if letter.recorded_ms is None else _iso(letter.recorded_ms),
            "reason": letter.reason,
            "field": letter.field,
            "type": letter.type,
            "source": letter.source,
            "value_bytes": letter.value_bytes,
            "truncated": sorted(letter.truncated),
            "replayed_from": letter.replayed_from,
        }
    )


def dead_letter_lines(letter: PublishedDeadLetter, zone: ZoneInfo) -> Iterable[str]:
    """Yield the lines that show one dead letter with its content."""
    yield str(letter.position)
    about = {
        "reason": letter.reason,
        "field": letter.field,
        "detail": letter.detail,
        "type": letter.short_type,
        "source": letter.source,
        "rejected": moment(letter.rejected_ms, zone),
        "recorded": "" if letter.recorded_ms is None else moment(letter.recorded_ms, zone),
        "dead letter": str(letter.dead_letter_position),
        "replayed": letter.replayed_from and f"from {letter.replayed_from}, and rejected again",
        "cut": _cut(letter),
        "key": _shortened(printable_bytes(letter.key), SHOWN_HEADER_CHARACTERS),
    }
    for name, text in about.items():
        if text:
            yield f"  {name:<11} {printable(text)}"
    for name, value in letter.headers:
        text = f"{printable(name)}: {printable_bytes(value)}"
        yield f"  {'header':<11} {_shortened(text, SHOWN_HEADER_CHARACTERS)}"
    yield ""
    yield from value_lines(letter.value)


def _shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def _cut(letter: PublishedDeadLetter) -> str:
    if not letter.truncated:
        return ""
    parts = " and ".join(sorted(letter.truncated))
    size = f" (the value had {letter.value_bytes:,} bytes)" if "value" in letter.truncated else ""
    return f"{parts} too long for a dead letter{size}; the whole record is at {letter.position} as long as Kafka keeps it"


def value_lines(value: bytes | None) -> Iterable[str]:
    """Yield a value as indented JSON; as escaped text if it is none; as a hex dump if it is not UTF-8."""
    if not value:
        yield "(null)" if value is None else "(empty)"
        return
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        yield from _hex_dump(value[:SHOWN_BYTES])
    else:
        shown = text[:SHOWN_BYTES]
        yield from map(printable, indented(shown) if _is_json(text) else shown.split("\n"))
    if len(value) > SHOWN_BYTES:
        yield f"… {len(value):,} bytes in all; --raw writes every one"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def indented(text: str) -> Iterable[str]:
    """Yield valid JSON in lines; every character but white space stays as it was sent: numbers, repeated names, all.

    Parsing and writing it again would hide just what some records are rejected for.
    """
    line, depth, position = "", 0, 0
    while position < len(text):
        character = text[position]
        if character == '"':
            end = position + 1
            while end < len(text) and text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            line += text[position : end + 1]
            position = end
        elif character in "[{":
            yield _indent(depth) + line + character
            line, depth = "", depth + 1
        elif character in "]}":
            if line:
                yield _indent(depth) + line
            line, depth = character, depth - 1
        elif character == ",":
            yield _indent(depth) + line + character
            line = ""
        elif character == ":":
            line += ": "
        elif character not in " \t\r\n":
            line += character
        position += 1
    if line:
        yield _indent(depth) + line


def _indent(depth: int) -> str:
    return "  " * max(0, min(depth, _DEEPEST_INDENT))


def _hex_dump(value: bytes) -> Iterable[str]:
    for start in range(0, len(value), _HEX_WIDTH):
        part = value[start : start + _HEX_WIDTH]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        yield f"{start:08x}  {part.hex(' '):<{3 * _HEX_WIDTH}} {text}"


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for number, heading in enumerate(headings):
        # What people copy or compare is not broken: positions, counts and times.
        whole = number == 0 or heading.startswith("first")
        table.add_column(heading, overflow="fold", no_wrap=whole)
    return table
